"""Three nodes behind one Praefect: a change goes to all of them, in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from gitaly._pb.repository_pb2 import (
    CreateRepositoryRequest,
    CreateRepositoryResponse,
    RemoveRepositoryRequest,
    RemoveRepositoryResponse,
)
from gitaly._pb.shared_pb2 import OBJECT_FORMAT_SHA256, OBJECT_FORMAT_UNSPECIFIED, Repository
from tests.faults.nodes import Served, a_node
from tests.storage.support import entries
from tests.transactions.praefect import Link, Praefect, a_praefect, header
from tests.transport.wires import until

CREATE = "/gitaly.RepositoryService/CreateRepository"
REMOVE = "/gitaly.RepositoryService/RemoveRepository"
PATH = "@cluster/repositories/6b/86/1"
NAMES = ("node-1", "node-2", "node-3")
PRIMARY = NAMES[0]
Status = tuple[str, str]
REPOSITORY = Repository(storage_name="default", relative_path=PATH)


def creation(*, is_different: bool = False) -> CreateRepositoryRequest:
    """A different one leads to another vote."""
    form = OBJECT_FORMAT_SHA256 if is_different else OBJECT_FORMAT_UNSPECIFIED
    return CreateRepositoryRequest(repository=REPOSITORY, object_format=form)


def removal() -> RemoveRepositoryRequest:
    return RemoveRepositoryRequest(repository=REPOSITORY)


@dataclass
class Member:
    """One node of a cluster."""

    name: str
    served: Served
    link: Link

    @property
    def repository(self) -> Path:
        return self.served.directory / "storage" / PATH

    def leftovers(self) -> list[str]:
        """What is neither in the repository nor a directory on the way to it or to others."""
        found = entries(self.served.directory / "storage")
        ways = {PATH[:end] + "/" for end in range(len(PATH)) if PATH[end] == "/"}
        usual = {".gitaly-metadata", "+gitaly/", "+gitaly/tmp/", PATH + "/", *ways}
        return [x for x in found if x not in usual and not x.startswith(PATH + "/")]

    async def create(self, transaction: int) -> Status:
        """This node's part alone."""
        metadata = header(transaction, self.name, primary=self.name == PRIMARY)
        return await self.link.call(CREATE, creation(), CreateRepositoryResponse, metadata)

    async def quiet(self) -> None:
        """No call runs any more."""
        await until(lambda: self._count("started") == self._count("handled"))

    def _count(self, what: str) -> float:
        """Calls, from the metrics."""
        families = self.served.node.registry.collect()
        [found] = [x for x in families if x.name == f"grpc_server_{what}"]
        return sum(x.value for x in found.samples if x.name.endswith("_total"))


@dataclass
class Cluster:
    praefect: Praefect
    members: Mapping[str, Member]

    async def change(
        self, path: str, requests: Mapping[str, Message], answer: type[Message]
    ) -> Mapping[str, Status]:
        """How a call ended on each node. The primary's failure ends it on the others, too."""
        number = self.praefect.begin(NAMES)
        calls: dict[str, asyncio.Task[Status]] = {}

        async def call(name: str) -> Status:
            metadata = header(number, name, primary=name == PRIMARY)
            link = self.members[name].link
            status = await link.call(path, requests[name], answer, metadata)
            if status[0] != "OK":
                await self.praefect.leave(number, name)
                if name == PRIMARY:
                    for other in NAMES[1:]:
                        calls[other].cancel()
            return status

        async with asyncio.timeout(60):
            for name in NAMES:
                calls[name] = asyncio.create_task(call(name))
            await asyncio.wait(calls.values())
        self.praefect.forget(number)
        return {
            name: ("CANCELLED", "") if task.cancelled() else task.result()
            for name, task in calls.items()
        }

    async def create(self, *, different: Sequence[str] = ()) -> Mapping[str, Status]:
        """`different`: nodes on which something else comes of it."""
        requests = {name: creation(is_different=name in different) for name in NAMES}
        return await self.change(CREATE, requests, CreateRepositoryResponse)

    async def remove(self) -> Mapping[str, Status]:
        return await self.change(REMOVE, dict.fromkeys(NAMES, removal()), RemoveRepositoryResponse)

    async def quiet(self) -> None:
        """No call runs any more."""
        for member in self.members.values():
            await member.quiet()

    def votes(self, name: str) -> list[tuple[str, str]]:
        """Phases and hashes, in order."""
        return [(vote.phase, vote.digest) for vote in self.praefect.votes if vote.node == name]


@asynccontextmanager
async def a_cluster(directory: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        nodes = {}
        for name in NAMES:
            (directory / name).mkdir()
            nodes[name] = await stack.enter_async_context(a_node(directory / name))
        praefect = await stack.enter_async_context(a_praefect())
        members = {
            name: Member(name, served, praefect.connect(served, name))
            for name, served in nodes.items()
        }
        yield Cluster(praefect, members)
