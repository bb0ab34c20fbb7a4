"""One call on a stream, whatever its client does: said by hand, frame by frame."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gitaly._pb import ssh_pb2
from gitaly.rpc import Call
from tests.rpc.conftest import Serve
from tests.rpc.slow import EXISTS, RECEIVE, Repositories, exists
from tests.transport.http2.raw import (
    DATA,
    Frame,
    data,
    grpc_request,
    message,
    raw_client,
    request,
    reset,
    window,
)
from tests.transport.wires import until

MIB = 1 << 20
EXISTS_BLOCK, RECEIVE_BLOCK = grpc_request(EXISTS), grpc_request(RECEIVE)
NO_ERROR, CANCEL = 0, 8


class Ssh:
    """Reads and writes at once, each as fast as it can or as a test lets it."""

    SERVICE = "gitaly.SSHService"

    def __init__(self, *, answers: int = 0, size: int = 0, reads: bool = True) -> None:
        self.answers, self.size, self.reads = answers, size, reads
        self.read: list[bytes] = []
        self.end = ""
        self.sent = 0
        self.may_read = asyncio.Event()
        self.may_end = asyncio.Event()

    async def SSHReceivePack(
        self, requests: AsyncIterator[ssh_pb2.SSHReceivePackRequest], call: Call
    ) -> AsyncIterator[ssh_pb2.SSHReceivePackResponse]:
        async with asyncio.TaskGroup() as pumps:
            if self.reads:
                pumps.create_task(self._read(requests))
            for _ in range(self.answers):
                yield ssh_pb2.SSHReceivePackResponse(stdout=bytes(self.size))
                self.sent += 1
            await self.may_end.wait()

    async def _read(self, requests: AsyncIterator[ssh_pb2.SSHReceivePackRequest]) -> None:
        await self.may_read.wait()
        self.end = "broken"
        async for each in requests:
            self.read.append(each.stdin)
        self.end = "clean"


def pushing(stdin: bytes) -> bytes:
    return message(ssh_pb2.SSHReceivePackRequest(stdin=stdin).SerializeToString())


def pieces(stream: int, body: bytes, *, is_end: bool = False) -> bytes:
    cuts = [body[at : at + 16_384] for at in range(0, len(body), 16_384)]
    last = len(cuts) - 1
    return b"".join(data(stream, c, is_end=is_end and n == last) for n, c in enumerate(cuts))


def trailers_of(frames: list[Frame]) -> bytes:
    return frames[-1].payload


def status(block: bytes) -> int:
    at = block.index(b"grpc-status") + len(b"grpc-status")
    return int(block[at + 1 : at + 1 + block[at]])


# Both directions at once


async def test_what_the_client_sends_is_read_while_the_answer_waits_for_its_window(
    serve: Serve,
) -> None:
    ssh = Ssh(answers=3, size=100_000)
    ssh.may_read.set()
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK), data(1, pushing(b"one")))
        await until(lambda: ssh.read == [b"one"])  # the reader waits for the next one now
        await client.until_kind(DATA, 1)
        client.say(window(1, 10_000), window(0, 10_000))  # the writer wakes, and waits again
        await client.settled()
        client.say(data(1, pushing(b"two"), is_end=True))
        await until(lambda: ssh.end == "clean")
        assert ssh.read == [b"one", b"two"]
        assert ssh.sent < 3
        ssh.may_end.set()
        client.say(window(1, MIB), window(0, MIB))
        assert status((await client.until_end(1)).payload) == 0


# Calls that end before they begin


@pytest.mark.parametrize("count", [1, 100])
async def test_a_call_that_is_reset_before_its_handler_begins_is_forgotten(
    serve: Serve, count: int
) -> None:
    async with serve(Repositories()) as served, raw_client(served.address) as client:
        for n in range(count):
            stream = 2 * n + 1
            client.say(
                request(stream, EXISTS_BLOCK)
                + data(stream, message(exists()), is_end=True)
                + reset(stream)
            )
        await client.settled()
        await asyncio.wait_for(served.core.stop(100), 20)  # nobody is waited for
