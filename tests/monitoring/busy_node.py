"""A node on which everything is switched on that has metrics, after a little of every work."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from gitaly._pb.repository_pb2 import CreateRepositoryRequest, GetArchiveRequest
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.smarthttp_pb2 import InfoRefsRequest, PostUploadPackWithSidechannelRequest
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest, SSHUploadPackWithSidechannelRequest
from gitaly.token import make_token
from tests.cgroups.support import remove_root, why_no_groups
from tests.hooks.gitlab.server import GitLabServer
from tests.services.node_under_test import A, Node, Push, a_node_with_a_repository
from tests.services.packets import lines

CGROUPS = """
[cgroups]
hierarchy_root = "{root}"
[cgroups.repositories]
count = 2
memory_bytes = 500000000
"""


def configuration(gitlab_url: str, directory: Path, group: str) -> str:
    cgroups = CGROUPS.format(root=group) if group else ""
    return f"""
prometheus_listen_addr = "127.0.0.1:0"
[auth]
token = "secret"
transitioning = true
[gitlab]
url = "{gitlab_url}"
secret = "s"
[pack_objects_cache]
enabled = true
dir = "{directory}/cache"
min_occurrences = 0
[archive_cache]
enabled = true
dir = "{directory}/archives"
[pack_objects_limiting]
max_concurrency = 20
[load_shedder]
enabled = true
[[concurrency]]
rpc = "/gitaly.SSHService/SSHUploadPackWithSidechannel"
adaptive = true
min_limit = 2
initial_limit = 10
max_limit = 20
{cgroups}
"""


@dataclass
class Busy:
    """Such a node."""

    node: Node
    has_groups: bool

    @property
    def port(self) -> int:
        port = self.node.served.node.metrics_port
        assert port is not None
        return port

    async def work(self) -> None:
        """A little of everything."""
        await asyncio.to_thread(self._create_repository)
        archive = GetArchiveRequest(repository=A, commit_id=self.node.commit)
        answer = await self.node.ask("GetArchive", archive)
        assert answer.code == "OK", answer.status
        said = lines(f"want {self.node.commit} ofs-delta", "", "done")
        for _ in range(2):
            over_ssh = SSHUploadPackWithSidechannelRequest(repository=A)
            await self.node.fetch("SSHUploadPackWithSidechannel", over_ssh, said)
        over_http = PostUploadPackWithSidechannelRequest(repository=A)
        await self.node.fetch("PostUploadPackWithSidechannel", over_http, said)
        push = Push(self.node)
        begin = SSHReceivePackRequest(
            repository=Repository(
                storage_name="default", relative_path="a.git", gl_repository="project-1"
            ),
            gl_id="user-1",
        )
        data = SSHReceivePackRequest(stdin=push.command + push.pack)
        answer = await self.node.ask("SSHReceivePack", begin, data)
        assert answer.code == "OK", answer.status
        await self._call_with_token()
        await self._fail()

    async def _call_with_token(self) -> None:
        token = [("authorization", make_token(b"secret", time.time()))]
        request = InfoRefsRequest(repository=A)
        answer = await self.node.ask("InfoRefsUploadPack", request, metadata=token)
        assert answer.code == "OK", answer.status

    def _create_repository(self) -> None:
        path = f"@hashed/{os.urandom(8).hex()}.git"
        request = CreateRepositoryRequest(
            repository=Repository(storage_name="default", relative_path=path)
        )
        with grpc.insecure_channel(self.node.served.address("unix")) as channel:
            call: Any = channel.unary_unary("/gitaly.RepositoryService/CreateRepository")
            call(request.SerializeToString(), timeout=20)  # bytes in: untyped by its stubs

    async def _fail(self) -> None:
        """A call that ends badly, by somebody with a wrong token."""
        wrong = (("authorization", "Bearer v2.00.1"),)
        nobody = Repository(storage_name="nobody", relative_path="a.git")
        request = SSHReceivePackRequest(repository=nobody, gl_id="user-1")
        answer = await self.node.ask("SSHReceivePack", request, metadata=wrong)
        assert answer.code == "INVALID_ARGUMENT", answer.status


@asynccontextmanager
async def busy_node(directory: Path) -> AsyncIterator[Busy]:
    """To be asked at its `port`; with control groups where this machine lets us make them."""
    group = "" if why_no_groups() else f"gitaly-test-{os.getpid()}"
    try:
        with GitLabServer().serving() as gitlab:
            extra = configuration(gitlab.url, directory, group)
            async with a_node_with_a_repository(directory, extra) as node:
                busy = Busy(node, bool(group))
                await busy.work()
                yield busy
    finally:
        if group:
            await asyncio.to_thread(remove_root, group)
