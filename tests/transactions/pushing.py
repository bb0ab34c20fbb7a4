"""Pushes through Praefect: real git at the client's end, SSHReceivePack of every node at the other.

Git runs `bridge.py` in the place of ssh. It speaks to a socket of the test's process, which does
as Praefect: it starts the call on all nodes, sends what git says to all of them, and lets git hear
the primary alone.
"""

import asyncio
import os
import queue
import struct
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest, SSHReceivePackResponse
from tests.e2e.clients import ENVIRONMENT
from tests.transactions.praefect import Link, Metadata, Praefect, header

RECEIVE_PACK: Final = "/gitaly.SSHService/SSHReceivePack"
BRIDGE: Final = Path(__file__).with_name("bridge.py")
STDOUT, STDERR, STATUS = 1, 2, 3
FRAME: Final = struct.Struct(">BI")
Status = tuple[str, str]


class Receiving:
    """One SSHReceivePack on one node."""

    def __init__(self, link: Link, repository: Repository, metadata: Metadata) -> None:
        self.name = link.name
        self._requests: queue.SimpleQueue[SSHReceivePackRequest | None] = queue.SimpleQueue()
        start: Any = link.channel.stream_stream(  # untyped by its stubs
            RECEIVE_PACK,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=SSHReceivePackResponse.FromString,
        )
        first = SSHReceivePackRequest(
            repository=repository, gl_id="user-1", gl_username="jane", gl_repository="project-1"
        )
        self._requests.put(first)
        self._call: Any = start(iter(self._requests.get, None), metadata=metadata, timeout=60)

    def say(self, data: bytes) -> None:
        self._requests.put(SSHReceivePackRequest(stdin=data))

    def finish(self) -> None:
        self._requests.put(None)

    def cancel(self) -> None:
        self.finish()
        self._call.cancel()

    async def heard(self) -> AsyncIterator[SSHReceivePackResponse]:
        """To the end, however that is."""
        while (message := await asyncio.to_thread(self._next)) is not None:
            yield message

    def _next(self) -> SSHReceivePackResponse | None:
        try:
            found: SSHReceivePackResponse | None = next(self._call, None)
        except grpc.RpcError:
            return None
        return found

    @property
    def status(self) -> Status:
        return self._call.code().name, self._call.details() or ""


@dataclass
class Pushed:
    """What the pusher saw, and how the calls ended."""

    code: int
    said: str
    statuses: Mapping[str, Status]

    @property
    def references(self) -> list[str]:
        """What git says of each reference: "=", "*", "!" and so on, and what it is about."""
        return [line for line in self.said.splitlines() if line[1:2] == "\t"]


@dataclass
class Way:
    """From the repository of a work tree to the one on all nodes."""

    praefect: Praefect
    links: Sequence[Link]  # the first one leads to the primary, if that is one of them
    repository: Repository
    work: Path
    primary: str = ""  # a node that is not ours, whose part nobody plays; empty: the first one
    calls: dict[str, Receiving] = field(default_factory=dict)  # of the latest push
    statuses: dict[str, Status] = field(default_factory=dict)

    @property
    def _socket(self) -> str:
        return f"{self.work}.sock"

    async def push(self, *arguments: str) -> Pushed:
        """`git push` with options, or without, and refspecs."""
        options = [x for x in arguments if x.startswith("-")]
        refspecs = [x for x in arguments if not x.startswith("-")]
        child = await asyncio.create_subprocess_exec(
            *("git", "push", "--porcelain", *options, "ssh://praefect/x.git", *refspecs),
            cwd=self.work,
            env={
                **ENVIRONMENT,
                "GIT_SSH_COMMAND": f"{sys.executable} {BRIDGE} {self._socket}",
                "GIT_SSH_VARIANT": "simple",
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
        )
        async with asyncio.timeout(60):
            said, _ = await child.communicate()
        assert child.returncode is not None
        return Pushed(child.returncode, said.decode(), dict(self.statuses))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One push."""
        names = [link.name for link in self.links]
        voters = [self.primary, *names] if self.primary else names
        number = self.praefect.begin(voters)
        self.statuses.clear()
        self.calls.clear()
        for link in self.links:
            metadata = header(number, link.name, primary=link.name == voters[0])
            self.calls[link.name] = Receiving(link, self.repository, metadata)
        sending = asyncio.create_task(self._send(reader))
        async with asyncio.TaskGroup() as tasks:
            for name in names[1:]:
                tasks.create_task(self._listen(number, name))
            tasks.create_task(self._answer(number, names[0], writer))
        sending.cancel()
        self.praefect.forget(number)
        writer.close()

    async def _send(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            for call in self.calls.values():
                call.say(data)
        for call in self.calls.values():
            call.finish()

    async def _listen(self, number: int, name: str) -> None:
        """To a node that git does not hear."""
        async for _ in self.calls[name].heard():
            pass
        await self._ended(number, name)

    async def _answer(self, number: int, name: str, writer: asyncio.StreamWriter) -> None:
        exit_status = 0
        async for message in self.calls[name].heard():
            for band, data in ((STDOUT, message.stdout), (STDERR, message.stderr)):
                if data:
                    writer.write(FRAME.pack(band, len(data)) + data)
            if message.HasField("exit_status"):
                exit_status = message.exit_status.value
        if not await self._ended(number, name):
            for other in self.calls.values():
                other.cancel()
            exit_status = exit_status or 1
        writer.write(FRAME.pack(STATUS, 1) + bytes([exit_status]))
        await writer.drain()

    async def _ended(self, number: int, name: str) -> bool:
        self.statuses[name] = self.calls[name].status
        if self.statuses[name][0] == "OK":
            return True
        await self.praefect.leave(number, name)
        return False


@asynccontextmanager
async def a_way(
    praefect: Praefect,
    links: Sequence[Link],
    repository: Repository,
    work: Path,
    *,
    primary: str = "",
) -> AsyncIterator[Way]:
    way = Way(praefect, links, repository, work, primary)
    path = f"{work}.sock"
    server = await asyncio.start_unix_server(way.serve, path)
    try:
        yield way
    finally:
        server.close()
        await server.wait_closed()
        os.unlink(path)
