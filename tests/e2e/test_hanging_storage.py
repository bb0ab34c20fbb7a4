"""A file system stops answering, as NFS does when its server is away; calls come at once.

The kernel lets nobody go who waits for it: were it the event loop, the node would stand still.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from gitaly._pb.blob_pb2 import ListBlobsRequest
from gitaly._pb.ref_pb2 import FindDefaultBranchNameRequest
from gitaly._pb.repository_pb2 import RepositoryExistsRequest, RepositorySizeRequest
from gitaly._pb.server_pb2 import ServerInfoResponse
from gitaly._pb.shared_pb2 import Repository
from gitaly.serving import CANCEL_SECONDS
from gitaly.storage.pulse import FRESH_SECONDS
from tests.e2e.clients import run_git
from tests.e2e.node_process import NodeProcess, wait_until
from tests.storage.mounts import need_mounts, silence

UNAVAILABLE = 'UNAVAILABLE: storage "far" is not available'
SIZE = "/gitaly.RepositoryService/RepositorySize"
EXISTS = "/gitaly.RepositoryService/RepositoryExists"
BRANCH = "/gitaly.RefService/FindDefaultBranchName"
BLOBS = "/gitaly.BlobService/ListBlobs"


class Node:
    """A node with a storage that stays, and one that may go."""

    def __init__(self, directory: Path) -> None:
        self.far = directory / "far"
        self.far.mkdir()
        far = f'[[storage]]\nname = "far"\npath = "{self.far}"\n'
        self.process = NodeProcess(directory, extra=far)
        for storage in (self.process.storage, self.far):
            run_git("init", "--quiet", "--bare", str(storage / "a.git"))

    def ask(self, storage: str) -> list[str]:
        """What calls of several kinds are told, which come together: OK, or why not."""
        repository = Repository(storage_name=storage, relative_path="a.git")
        questions = [
            (EXISTS, RepositoryExistsRequest(repository=repository)),
            (BRANCH, FindDefaultBranchNameRequest(repository=repository)),
            (BLOBS, ListBlobsRequest(repository=repository, revisions=["--all"])),
        ] * 4
        with (
            grpc.insecure_channel(f"127.0.0.1:{self.process.tcp}") as channel,
            ThreadPoolExecutor(len(questions)) as pool,
        ):
            return list(pool.map(lambda question: told(channel, *question), questions))

    def readable(self) -> dict[str, bool]:
        """Which storages ServerInfo says can be read."""
        with grpc.insecure_channel(f"127.0.0.1:{self.process.tcp}") as channel:
            ask: Any = channel.unary_unary("/gitaly.ServerService/ServerInfo")
            answer = ServerInfoResponse.FromString(ask(b"", timeout=30))
        return {found.storage_name: found.readable for found in answer.storage_statuses}

    def health(self) -> str:
        with grpc.insecure_channel(f"127.0.0.1:{self.process.tcp}") as channel:
            return told(channel, "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest())


def told(channel: grpc.Channel, path: str, request: Any) -> str:
    ask: Any = channel.unary_stream(path)  # bytes in, bytes out: untyped by its stubs
    try:
        list(ask(request.SerializeToString(), timeout=30))
    except grpc.RpcError as error:
        failed: Any = error  # a call, too
        return f"{failed.code().name}: {failed.details()}"
    return "OK"


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    need_mounts()
    node = Node(tmp_path_factory.mktemp("n"))
    node.process.start()
    yield node
    node.process.stop()


def test_calls_to_it_are_refused_and_all_others_are_answered(node: Node) -> None:
    assert {*node.ask("far"), *node.ask("default")} == {"OK"}
    time.sleep(FRESH_SECONDS)  # until what has just been answered is no longer taken for true
    with silence(node.far), ThreadPoolExecutor(1) as beside:
        refused = beside.submit(node.ask, "far")
        for _ in range(20):
            assert {*node.ask("default"), node.health()} == {"OK"}
        assert {*refused.result()} == {UNAVAILABLE}
        assert {*node.ask("far")} == {UNAVAILABLE}
        assert {*node.ask("default"), node.health()} == {"OK"}
        assert node.readable() == {"default": True, "far": False}
    wait_until(lambda: node.readable() == {"default": True, "far": True}, "all can be read")


def test_when_it_answers_again_so_do_the_calls(node: Node) -> None:
    assert {*node.ask("far")} == {"OK"}
    time.sleep(FRESH_SECONDS)
    with ThreadPoolExecutor(1) as beside:
        with silence(node.far):
            waiting = beside.submit(node.ask, "far")
            assert {*node.ask("default")} == {"OK"}
        assert {*waiting.result()} == {"OK"}


def test_a_node_ends_although_its_threads_wait_for_ever(node: Node) -> None:
    process = node.process
    size = RepositorySizeRequest(repository=Repository(storage_name="far", relative_path="a.git"))
    # What is above answers, so that the call comes to the thread that looks into everything.
    with (
        grpc.insecure_channel(f"127.0.0.1:{process.tcp}") as channel,
        silence(node.far / "a.git/objects/info"),
        ThreadPoolExecutor(1) as beside,
    ):
        beside.submit(told, channel, SIZE, size)
        wait_until(lambda: "fuse" in waited_for(process.pid), "a thread to hang")
        os.kill(process.pid, signal.SIGTERM)
        wait_until(lambda: "starting grace period" in process.log(), "the node to stop")
        os.kill(process.pid, signal.SIGTERM)
        wait_until(lambda: process.has_ended, "the node to end", seconds=CANCEL_SECONDS + 30)
    assert process.ended() == 1
    [line] = [line for line in process.lines() if "come to their end" in line["msg"]]
    assert any("directory_size" in place for place in line["at"]), line
    process.start()  # what the process has left is removed


def waited_for(pid: int) -> str:
    """What the threads of a process wait for in the kernel."""
    return " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/wchan"))
