"""One call on a stream, whatever its client does: said by hand, frame by frame."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gitaly._pb import ssh_pb2
from gitaly.rpc import Call
from tests.rpc.conftest import Serve
from tests.rpc.slow import EXISTS, RECEIVE, Repositories, exists
from tests.transport.http2.raw import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST,
    WINDOW,
    data,
    frame,
    grpc_request,
    message,
    raw_client,
    request,
    reset,
    settings,
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
        reading = asyncio.create_task(self._read(requests) if self.reads else asyncio.sleep(0))
        try:
            for _ in range(self.answers):
                yield ssh_pb2.SSHReceivePackResponse(stdout=bytes(self.size))
                self.sent += 1
            await (reading if self.reads else self.may_end.wait())
        finally:
            reading.cancel()

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


# Deadlines


async def test_a_deadline_that_passes_before_the_message_comes_is_told(serve: Serve) -> None:
    block = grpc_request(EXISTS, (b"grpc-timeout", b"20m"))
    async with serve(Repositories()) as served, raw_client(served.address) as client:
        client.say(request(1, block))
        assert status((await client.until_end(1)).payload) == 4
        assert (await client.until_kind(RST, 1)).code == NO_ERROR


async def test_a_deadline_that_passes_while_the_handler_works_ends_it(serve: Serve) -> None:
    block = grpc_request(EXISTS, (b"grpc-timeout", b"50m"))
    async with serve(Repositories()) as served, raw_client(served.address) as client:
        client.say(request(1, block), data(1, message(exists()), is_end=True))
        assert status((await client.until_end(1)).payload) == 4
        await until(lambda: len(served.lines()) == 1)
        assert served.lines()[0]["grpc.code"] == "DeadlineExceeded"


async def test_a_deadline_that_passes_while_the_client_does_not_read_ends_the_handler(
    serve: Serve,
) -> None:
    ssh = Ssh(answers=10, size=100_000)
    block = grpc_request(RECEIVE, (b"grpc-timeout", b"100m"))
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, block), data(1, pushing(b"x")))
        await until(lambda: len(served.lines()) == 1)
        assert served.lines()[0]["grpc.code"] == "DeadlineExceeded"
        client.say(window(0, MIB), window(1, MIB))
        assert status((await client.until_end(1)).payload) == 4


@pytest.mark.parametrize("text", [b"0n", b"1n"])
async def test_a_deadline_that_has_passed_already_is_told(serve: Serve, text: bytes) -> None:
    block = grpc_request(EXISTS, (b"grpc-timeout", text))
    async with serve(Repositories()) as served, raw_client(served.address) as client:
        client.say(request(1, block), data(1, message(exists()), is_end=True))
        assert status((await client.until_end(1)).payload) == 4
        await asyncio.wait_for(served.core.stop(100), 20)


# Bodies that are wrong


@pytest.mark.parametrize(
    ("body", "number", "text"),
    [
        (b"", 13, b"not just one message"),
        (b"\0\0\0", 13, b"half a message"),
        (message(exists())[:-1], 13, b"half a message"),
        (message(exists()) * 2, 13, b"not just one message"),
        (message(b"\xff\xff\xff"), 13, b"error unmarshalling request"),
        (b"\1" + message(b"x")[1:], 13, b"compressed flag set"),
        (b"\0\xff\xff\xff\xff", 8, b"larger than max"),
    ],
)
async def test_a_body_that_is_not_one_message_is_an_error_of_the_call(
    serve: Serve, body: bytes, number: int, text: bytes
) -> None:
    async with serve(Repositories()) as served, raw_client(served.address) as client:
        client.say(request(1, EXISTS_BLOCK), data(1, body, is_end=True))
        block = (await client.until_end(1)).payload
        assert status(block) == number
        assert text in block
        await until(lambda: len(served.lines()) == 1)


async def test_two_messages_are_too_many_before_the_end_already(serve: Serve) -> None:
    async with serve(Repositories()) as served, raw_client(served.address) as client:
        client.say(request(1, EXISTS_BLOCK), data(1, message(exists()) * 2))
        assert status((await client.until_end(1)).payload) == 13


async def test_an_unknown_encoding_is_unimplemented(serve: Serve) -> None:
    block = grpc_request(EXISTS, (b"grpc-encoding", b"snappy"))
    async with serve(Repositories()) as served, raw_client(served.address) as client:
        client.say(request(1, block))
        answer = (await client.until_end(1)).payload
        assert status(answer) == 12
        assert b'Decompressor is not installed for grpc-encoding "snappy"' in answer


@pytest.mark.parametrize(
    "bad", [(b"grpc-timeout", b"soon"), (b"x-bin", b"?"), (b"x", b"two\nlines"), (b"X", b"y")]
)
async def test_a_malformed_request_is_reset_and_the_next_one_served(
    serve: Serve, bad: tuple[bytes, bytes]
) -> None:
    repositories = Repositories()
    repositories.may_end.release()
    async with serve(repositories) as served, raw_client(served.address) as client:
        client.say(request(1, grpc_request(EXISTS, bad)), data(1, message(exists()), is_end=True))
        assert (await client.until_kind(RST, 1)).code == 1
        client.say(request(3, EXISTS_BLOCK), data(3, message(exists()), is_end=True))
        assert status((await client.until_end(3)).payload) == 0


# Clients that go away


async def test_half_a_message_at_the_end_of_an_upload_is_no_clean_end(serve: Serve) -> None:
    ssh = Ssh()
    ssh.may_read.set()
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK))
        client.say(data(1, pushing(b"one") + pushing(b"two")[:-1], is_end=True))
        assert status((await client.until_end(1)).payload) == 13
        assert (ssh.read, ssh.end) == ([b"one"], "broken")


@pytest.mark.parametrize("how", ["reset", "closed", "aborted", "protocol error", "with an error"])
async def test_a_client_that_vanishes_in_the_middle_of_an_upload_is_no_clean_end(
    serve: Serve, how: str
) -> None:
    ssh = Ssh()
    ssh.may_read.set()
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK), data(1, pushing(b"one")))
        await until(lambda: ssh.read == [b"one"])
        if how == "reset":
            client.say(reset(1, CANCEL))
        elif how == "protocol error":
            client.say(window(0, 0))
        elif how == "with an error":
            client.say(reset(1, CANCEL) + window(0, 0))
        elif how == "closed":
            client.writer.close()
        else:
            client.writer.transport.abort()
        await until(lambda: len(served.lines()) == 1)
        assert (ssh.end, served.lines()[0]["grpc.code"]) == ("broken", "Canceled")
        assert served.running == set()


async def test_a_client_that_cancels_while_the_handler_waits_for_room_ends_it(
    serve: Serve,
) -> None:
    ssh = Ssh(answers=10, size=100_000)
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK))
        await client.until_kind(DATA, 1)
        client.say(reset(1, CANCEL))
        await until(lambda: len(served.lines()) == 1)
        assert served.lines()[0]["grpc.code"] == "Canceled"
        await client.settled()
        assert [found.stream for found in client.seen if found.is_end] == []


async def test_ten_thousand_calls_that_are_reset_at_once_leave_the_node_well(
    serve: Serve,
) -> None:
    repositories = Repositories()
    repositories.may_end.release()
    async with serve(repositories) as served, raw_client(served.address) as client:
        body = message(exists())
        for stream in range(1, 20_001, 2):
            client.say(
                request(stream, EXISTS_BLOCK) + data(stream, body, is_end=True) + reset(stream)
            )
        client.say(request(20_001, EXISTS_BLOCK))
        client.say(data(20_001, message(exists()), is_end=True))
        assert status((await client.until_end(20_001)).payload) == 0
        await until(lambda: served.running == set())


# Answers before the end of the request


async def test_an_answer_before_the_client_has_sent_all_tells_it_to_stop(serve: Serve) -> None:
    ssh = Ssh(answers=1, reads=False)
    ssh.may_end.set()
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK), data(1, pushing(bytes(1000))))
        assert status((await client.until_end(1)).payload) == 0
        assert (await client.until_kind(RST, 1)).code == NO_ERROR
        heard = len(client.seen)
        client.say(data(1, pushing(bytes(1000)), is_end=True))  # it was on its way
        await client.settled()
        assert len(client.seen) == heard + 1


# Uploads that nobody reads


async def test_a_handler_that_does_not_read_holds_up_its_client_only(serve: Serve) -> None:
    ssh, repositories = Ssh(), Repositories()
    repositories.may_end.release()
    async with serve(ssh, repositories) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK))
        client.say(pieces(1, pushing(bytes(1000)) * 1030))  # nearly the window
        await client.settled()
        assert [f for f in client.seen if f.kind == WINDOW and f.stream == 1] == []
        client.say(request(3, EXISTS_BLOCK), data(3, message(exists()), is_end=True))
        assert status((await client.until_end(3)).payload) == 0
        ssh.may_read.set()
        more = await client.until_kind(WINDOW, 1)
        assert more.code > MIB // 2
        await until(lambda: len(ssh.read) == 1030)


async def test_who_sends_more_than_the_window_is_reset(serve: Serve) -> None:
    ssh = Ssh()
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK))
        client.say(pieces(1, pushing(bytes(1000)) * 2000))
        assert (await client.until_kind(RST, 1)).code == 3
        await until(lambda: len(served.lines()) == 1)


async def test_a_message_larger_than_the_window_comes_whole(serve: Serve) -> None:
    ssh = Ssh()
    ssh.may_read.set()
    large = bytes(range(256)) * (12 << 10)  # 3 MiB
    async with serve(ssh) as served, raw_client(served.address) as client:
        client.say(request(1, RECEIVE_BLOCK))
        body, room = pushing(large), MIB
        while body:
            client.say(pieces(1, body[:room], is_end=room >= len(body)))
            body = body[room:]
            room = (await client.until_kind(WINDOW, 1)).code if body else 0
        await until(lambda: ssh.end == "clean")
        assert ssh.read == [large]


# What the client hears


async def test_a_client_with_little_room_for_fields_still_gets_its_status(serve: Serve) -> None:
    hello = PREFACE + settings(list=400)
    path = "/gitaly.RefService/" + "x" * 5000
    async with serve() as served, raw_client(served.address, hello) as client:
        client.say(request(1, grpc_request(path), is_end=True))
        block = (await client.until_end(1)).payload
        assert status(block) == 12
        assert len(block) < 400


async def test_a_long_status_is_cut_into_frames(serve: Serve) -> None:
    path = "/gitaly.RefService/" + "x" * 50_000
    async with serve() as served, raw_client(served.address) as client:
        whole = grpc_request(path)
        client.say(frame(HEADERS, END_STREAM, 1, whole[:16_384]))
        for at in range(16_384, len(whole), 16_384):
            flags = END_HEADERS if at + 16_384 >= len(whole) else 0
            client.say(frame(CONTINUATION, flags, 1, whole[at : at + 16_384]))
        first = await client.until_kind(HEADERS, 1)
        assert (first.flags, status(first.payload)) == (END_STREAM, 12)
        last = await client.until(lambda found: bool(found.flags & END_HEADERS))
        assert last.kind == CONTINUATION
