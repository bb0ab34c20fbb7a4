"""A node in this process, and clients that say what a test wants them to say.

Streams go over grpc's blocking API: its asyncio client turns early answers into INTERNAL now and
then (grpc/grpc#36066).
"""

import asyncio
import queue
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import grpc
from google.protobuf.message import Message

from gitaly._pb import hook_pb2, repository_pb2, smarthttp_pb2, ssh_pb2
from gitaly._pb.packfile_pb2 import PackfileNegotiationStatistics
from gitaly._pb.shared_pb2 import Repository
from gitaly.client import CallFailed, dial
from gitaly.transport.channel import Channel
from gitaly.transport.pktline import FLUSH, encode
from gitaly.transport.sideband import STDERR, STDOUT, SidebandDecoder
from gitaly.transport.sidechannel import InputEncoder
from tests.e2e.node_process import below
from tests.faults.nodes import Served, a_node, make_repository, run_git
from tests.transport.wires import until

Metadata = Sequence[tuple[str, str]]
A: Final = Repository(storage_name="default", relative_path="a.git")
ZERO: Final = "0" * 40
MODULES: Final = {
    "HookService": hook_pb2,
    "RepositoryService": repository_pb2,
    "SSHService": ssh_pb2,
    "SmartHTTPService": smarthttp_pb2,
}


@dataclass
class Answer:
    """How a call ended."""

    code: str
    text: str
    messages: list[Any]  # of the server

    @property
    def status(self) -> tuple[str, str]:
        return self.code, self.text

    def joined(self, name: str) -> bytes:
        """One field of all messages."""
        return b"".join(getattr(message, name) for message in self.messages)


@dataclass
class Fetched:
    """How a call with a sidechannel ended, and what came on the sidechannel."""

    code: str = "OK"
    text: str = ""
    output: bytes = b""
    statistics: PackfileNegotiationStatistics | None = None

    @property
    def status(self) -> tuple[str, str]:
        return self.code, self.text

    def band(self, number: int) -> bytes:
        """What came in one side-band; the output must be whole packets of known bands."""
        decoder, found = SidebandDecoder(), {STDOUT: b"", STDERR: b""}
        for band, piece in decoder.receive(memoryview(self.output)):
            found[band] += bytes(piece)
        decoder.at_end()
        return found[number]


@dataclass
class Node:
    """A node with a repository `a.git` and a directory `plain`; `commit` is the head of main."""

    served: Served
    commit: str
    others: frozenset[int]  # children of this process that are not the node's

    @property
    def repository(self) -> Path:
        return self.served.directory / "storage" / "a.git"

    @property
    def work(self) -> Path:
        return self.served.directory / "work"

    def git(self, *arguments: str) -> str:
        return run_git("-C", str(self.repository), *arguments)

    def add_many_references(self) -> None:
        """More than any buffer between git and a client takes when they are advertised."""
        names = [*(f"refs/heads/{number:0>100}" for number in range(60_000)), "refs/heads/main"]
        text = "".join(f"{self.commit} {name}\n" for name in names)
        head = "# pack-refs with: peeled fully-peeled sorted \n"
        (self.repository / "packed-refs").write_text(head + text)

    def stream(self, method: str, metadata: Metadata = ()) -> "Stream":
        return Stream(self.served.address("unix"), method, metadata)

    async def ask(self, method: str, *requests: Message, metadata: Metadata = ()) -> Answer:
        """All requests in and all responses out, whatever the kind of the call."""
        with self.stream(method, metadata) as stream:
            for request in requests:
                stream.say(request)
            return await stream.end()

    async def fetch(self, method: str, request: Message, said: bytes | None) -> Fetched:
        """A call with a sidechannel on which all is said at once; None: broken off at once."""

        async def serve(channel: Channel) -> None:
            if said is None:
                channel.abort()
                return
            await talk(channel, said, fetched)

        fetched = Fetched()
        await self.fetch_with(method, request, serve, fetched)
        return fetched

    async def fetch_with(
        self, method: str, request: Message, serve: Any, fetched: Fetched
    ) -> Fetched:
        async with dial(self.served.address("unix")) as node:
            try:
                answer: Any = await node.with_sidechannel(
                    path_of(method), request, response_class(method), serve
                )
                if answer.HasField("packfile_negotiation_statistics"):
                    fetched.statistics = answer.packfile_negotiation_statistics
            except CallFailed as error:
                fetched.code, fetched.text = error.code.name, error.message
        return fetched

    async def unknown_sidechannel(self, method: str, request: Message) -> tuple[str, str]:
        """How a call ends that names a sidechannel which its client does not know."""
        async with dial(self.served.address("unix")) as node:
            try:
                extra = [("gitaly-sidechannel-id", "4711")]
                await node.unary(path_of(method), request, response_class(method), extra)
            except CallFailed as error:
                return error.code.name, error.message
        return "OK", ""

    async def until_quarantined(self) -> None:
        """Git has begun to take a push's objects."""
        objects = self.repository / "objects"
        await until(lambda: [*objects.glob("tmp_objdir-incoming-*")] != [])

    def lines(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.served.lines() if line["msg"] == message]

    async def finished(self, method: str) -> dict[str, Any]:
        """The log's last word on the one call of a method."""

        def found() -> list[dict[str, Any]]:
            ended = [x for x in self.served.lines() if "grpc.code" in x]
            return [x for x in ended if x["grpc.method"] == method]

        await until(lambda: bool(found()))
        [line] = found()
        return line

    def metric(self, name: str, **labels: str) -> float | None:
        return self.served.node.registry.get_sample_value(name, labels)

    def children(self) -> list[int]:
        """What runs below the node, zombies too."""
        return [pid for pid in children() if pid not in self.others]

    async def idle(self) -> None:
        """No git runs any more, and none has left a quarantine or half a pack behind."""
        await until(lambda: self.children() == [])
        found = below(self.repository / "objects")
        assert [x for x in found if x.match("tmp_*") or x.match("incoming-*")] == []


def children() -> list[int]:
    """What runs below this process."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


async def talk(channel: Channel, said: bytes, fetched: Fetched) -> None:
    """Say everything and then listen to everything."""
    encoder = InputEncoder()
    channel.write(encoder.encode(memoryview(said)))
    channel.write((encoder.finish(),))
    while data := await channel.read():
        fetched.output += data


class Stream:
    """One call on a connection of its own, message by message. Use it in a `with`."""

    def __init__(self, address: str, method: str, metadata: Metadata) -> None:
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        call: Any = self._channel.stream_stream(
            path_of(method),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_class(method).FromString,
        )
        self._call: Any = call(iter(self._requests.get, None), metadata=tuple(metadata), timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()

    def say(self, message: Message) -> None:
        self._requests.put(message)

    async def hear(self) -> Any:
        """The next message; None at the end."""
        return await asyncio.to_thread(self._next)

    def _next(self) -> Any:
        try:
            return next(self._call, None)
        except grpc.RpcError:
            return None

    async def rest(self) -> Answer:
        """Listen to the end, saying nothing."""
        messages: list[Any] = []
        while (message := await self.hear()) is not None:
            messages.append(message)
        return Answer(self._call.code().name, self._call.details() or "", messages)

    async def end(self) -> Answer:
        """Say that nothing follows, and listen to the end."""
        self._requests.put(None)
        return await self.rest()

    def vanish(self) -> None:
        """End the connection."""
        self._requests.put(None)
        self._channel.close()


def service_of(method: str) -> str:
    if method.endswith("CustomHooks") or method == "GetArchive":
        return "RepositoryService"
    if method.endswith("Hook"):
        return "HookService"
    return "SSHService" if method.startswith("SSH") else "SmartHTTPService"


def path_of(method: str) -> str:
    return f"/gitaly.{service_of(method)}/{method}"


def response_class(method: str) -> type[Message]:
    service = service_of(method)
    descriptor = MODULES[service].DESCRIPTOR.services_by_name[service].methods_by_name[method]
    found: type[Message] = getattr(MODULES[service], descriptor.output_type.name)
    return found


@asynccontextmanager
async def a_node_with_a_repository(directory: Path, extra: str = "") -> AsyncIterator[Node]:
    others = frozenset(children())
    async with a_node(directory, extra=extra) as served:
        commit = make_repository(directory, size=1000)
        (directory / "storage" / "plain").mkdir()
        yield Node(served, commit, others)


@dataclass
class Push:
    """A new commit in the work tree, which is to become `branch` at the node."""

    node: Node
    old: str = ZERO
    branch: str = "refs/heads/new"
    new: str = field(init=False)

    def __post_init__(self) -> None:
        work = str(self.node.work)
        run_git("-C", work, "commit", "--quiet", "--allow-empty", "--message=two")
        self.new = run_git("-C", work, "rev-parse", "HEAD")

    @property
    def command(self) -> bytes:
        return encode(f"{self.old} {self.new} {self.branch}\0report-status".encode()) + FLUSH

    @property
    def pack(self) -> bytes:
        return subprocess.run(
            ["git", "-C", self.node.work, "pack-objects", "--revs", "--stdout", "-q"],
            input=f"{self.new}\n".encode(),
            check=True,
            capture_output=True,
        ).stdout
