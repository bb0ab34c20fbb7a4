"""A session on a real wire: a slow peer, a silent one, and one that is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gitaly.transport.http2 import ErrorCode, Http2Connection, Stream, connection, encoded
from gitaly.transport.wire import HIGH_WATER_BYTES, SocketWire, Wire
from tests.transport.http2.raw import (
    ACK,
    DATA,
    GOAWAY,
    HELLO,
    PING,
    PREFACE,
    RST,
    SETTINGS,
    Raw,
    data,
    frame,
    request,
    reset,
    settings,
    window,
)
from tests.transport.sessions import two_sides
from tests.transport.wires import Full, connected, unix_pair, until

MIB = 1 << 20
LARGE = PREFACE + settings(window=(1 << 31) - 1) + window(0, (1 << 31) - 1 - 65_535)
DONE = encoded([(b"grpc-status", b"0")])


class User:
    """Of one stream; remembers what it was told."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.data = bytearray()
        self.is_end = False
        self.lost = 0
        self.writable = 0

    def data_received(self, data: bytes, *, is_end: bool) -> None:
        assert not self.lost
        self.data += data
        self.is_end = is_end

    def stream_lost(self) -> None:
        self.lost += 1

    def stream_writable(self) -> None:
        assert not self.lost
        self.writable += 1


class Node:
    """A connection and the users of its streams."""

    def __init__(self, wire: Wire) -> None:
        self.users: list[User] = []
        self.ready = self.ended = 0
        self.http = Http2Connection(
            wire,
            read=lambda fields: fields,
            begin=self._begin,
            on_ready=self._ready,
            on_end=self._end,
        )

    def _begin(self, _: Http2Connection, stream: Stream, __: Any) -> User:
        self.users.append(User(stream))
        return self.users[-1]

    def _ready(self) -> None:
        self.ready += 1

    def _end(self) -> None:
        self.ended += 1

    async def user(self, number: int = 0) -> User:
        await until(lambda: len(self.users) > number)
        return self.users[number]

    def answer(self, user: User, body: bytes = b"") -> None:
        self.http.send_headers(user.stream, encoded([(b":status", b"200")]))
        self.http.send_data(user.stream, (body,))
        self.http.send_trailers(user.stream, DONE)
        self.http.flush()
        self.http.settled(user.stream)


@asynccontextmanager
async def served(hello: bytes = HELLO) -> AsyncIterator[tuple[Node, SocketWire, Raw]]:
    """A node and its client, which has said hello."""
    ours, theirs = unix_pair()
    theirs.setblocking(False)
    wire = SocketWire(ours)
    node = Node(wire)
    reader, writer = await asyncio.open_connection(sock=theirs)
    client = Raw(reader, writer)
    client.say(hello)
    node.http.start()
    try:
        yield node, wire, client
    finally:
        writer.transport.abort()
        node.http.end()
        wire.abort()
        await asyncio.sleep(0)


async def test_what_was_read_before_is_not_lost() -> None:
    ours, theirs = unix_pair()
    wire = SocketWire(ours)
    node = Node(wire)
    with theirs:
        node.http.start(HELLO + request(1, is_end=True))
        assert (node.ready, len(node.users), node.users[0].is_end) == (1, 1, True)
        node.http.end()
        wire.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
async def test_it_speaks_on_every_kind_of_wire(tmp_path: Path, kind: str) -> None:
    async with connected(kind, tmp_path) as (wire, peer):
        node = Node(wire)
        node.http.start()
        await asyncio.to_thread(peer.sendall, HELLO + request(1) + data(1, b"hello", is_end=True))
        user = await node.user()
        await until(lambda: user.is_end)
        assert user.data == b"hello"
        node.answer(user, b"world")
        node.http.leave()
        heard = bytearray()
        while b"grpc-status" not in heard:
            heard += await asyncio.to_thread(peer.recv, 65_536)
        assert b"world" in heard
        assert node.ended == 1
        wire.abort()
        await asyncio.sleep(0)


async def test_it_speaks_on_a_stream_of_a_session() -> None:
    async with two_sides() as (node_side, client_side):
        stream = client_side.session.open_stream()
        wire, _ = await node_side.stream()
        node = Node(wire)
        node.http.start()
        stream.write((HELLO + request(1) + data(1, b"hello", is_end=True),))
        user = await node.user()
        await until(lambda: user.is_end)
        node.http.leave()
        node.answer(user)
        assert node.ended == 1


async def test_the_loss_of_a_session_is_the_loss_of_the_streams_on_it() -> None:
    async with two_sides() as (node_side, client_side):
        stream = client_side.session.open_stream()
        wire, _ = await node_side.stream()
        node = Node(wire)
        node.http.start()
        stream.write((HELLO + request(1),))
        user = await node.user()
        client_side.session.close()
        await until(lambda: user.lost == 1)
        assert node.ended == 1


# A slow peer


async def test_a_peer_that_does_not_read_holds_back_who_writes() -> None:
    async with served(LARGE + request(1, is_end=True)) as (node, wire, client):
        user = await node.user()
        count = 0
        while not node.http.must_wait(user.stream):
            node.http.send_data(user.stream, (bytes(65_536),))
            node.http.flush()
            count += 1
        assert HIGH_WATER_BYTES < wire.backlog < 2 * HIGH_WATER_BYTES
        assert user.writable == 0
        got = 0
        while got < count * 65_536:
            got += len((await client.until_kind(DATA, 1)).payload)
        await until(lambda: user.writable == 1)
        assert not node.http.must_wait(user.stream)


async def test_a_window_of_the_peer_holds_back_who_writes() -> None:
    async with served(PREFACE + settings(window=10) + request(1, is_end=True)) as (node, _, client):
        user = await node.user()
        node.http.send_data(user.stream, (bytes(15),))
        node.http.flush()
        assert node.http.must_wait(user.stream)
        client.say(window(1, 5))
        await until(lambda: user.writable == 1)
        assert not node.http.must_wait(user.stream)


async def test_a_stream_that_waits_for_the_wire_and_is_lost_is_not_told_to_write() -> None:
    async with served(LARGE + request(1, is_end=True)) as (node, wire, client):
        user = await node.user()
        node.http.send_data(user.stream, (bytes(MIB),))
        node.http.flush()
        assert node.http.must_wait(user.stream)
        client.say(reset(1))
        await until(lambda: user.lost == 1)
        await client.settled()
        await until(lambda: wire.backlog == 0)
        assert (user.lost, user.writable) == (1, 0)


async def test_a_peer_that_takes_no_answers_to_its_pings_is_read_no_more() -> None:
    wire: Any = Full()  # its user is nobody in particular
    node = Node(wire)
    node.http.start(HELLO)
    for _ in range(100):
        if "pause" not in wire.calls:
            node.http.bytes_received(memoryview(frame(PING, 0, 0, bytes(8)) * 1000))
    assert "pause" in wire.calls
    assert wire.backlog < 2 * connection.MOST_BACKLOG
    wire.calls.clear()
    node.http.writable()
    assert wire.calls == ["resume"]
    node.http.end()


async def test_a_flood_of_pings_is_answered_as_fast_as_it_is_read() -> None:
    async with served() as (node, wire, client):
        client.say(frame(PING, 0, 0, b"x" * 8) * 200_000)
        await until(lambda: not wire._reading)  # the peer does not read, either
        assert wire.backlog < connection.MOST_BACKLOG + MIB
        await client.settled()
        client.say(request(1))
        await node.user()


# A silent peer


async def test_a_silent_peer_is_asked_and_stays_if_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.02)
    monkeypatch.setattr(connection, "KEEPALIVE_TIMEOUT_SECONDS", 0.5)
    async with served() as (node, _, client):
        for _ in range(2):
            asked = await client.until(lambda found: found.kind == PING)
            client.say(frame(PING, ACK, 0, asked.payload))
        assert not node.http.has_ended


async def test_a_peer_that_does_not_answer_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.01)
    monkeypatch.setattr(connection, "KEEPALIVE_TIMEOUT_SECONDS", 0.01)
    async with served(HELLO + request(1)) as (node, _, client):
        user = await node.user()
        await client.until_closed()
        await until(lambda: user.lost == 1)
        assert node.ended == 1


async def test_a_peer_that_speaks_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 10.0)
    wire: Any = Full()  # its user is nobody in particular
    node = Node(wire)
    node.http.start(HELLO)
    before = wire.backlog
    node.http._keep_alive()  # its timer: the frames of the greeting have come since
    assert wire.backlog == before
    node.http._keep_alive()
    assert wire.backlog == before + 17
    node.http.end()


# Its end


async def test_a_goodbye_lets_calls_on_their_way_be_served() -> None:
    async with served() as (node, _, client):
        node.http.say_goodbye()
        goodbye = await client.until_kind(GOAWAY)
        assert (goodbye.payload[:4].hex(), goodbye.code) == ("7fffffff", 0)
        client.say(request(1, is_end=True))
        node.answer(await node.user(), b"hello")
        await client.until_end(1)
        assert not node.http.has_ended


async def test_leaving_serves_what_has_begun_and_refuses_what_comes() -> None:
    async with served(HELLO + request(1, is_end=True)) as (node, _, client):
        user = await node.user()
        node.http.leave()
        goodbye = await client.until_kind(GOAWAY)
        assert (goodbye.payload[:4].hex(), goodbye.code) == ("00000001", 0)
        client.say(request(3, is_end=True))
        assert (await client.until_kind(RST, 3)).code == ErrorCode.REFUSED_STREAM
        node.answer(user, b"hello")
        await client.until_end(1)
        await client.until_closed()
        assert (node.ended, user.lost, len(node.users)) == (1, 0, 1)


async def test_leaving_waits_for_an_answer_that_waits_for_its_window() -> None:
    async with served(PREFACE + settings(window=1) + request(1, is_end=True)) as (node, _, client):
        node.answer(await node.user(), b"hello")
        node.http.leave()
        assert not node.http.has_ended
        client.say(window(1, 100))
        await client.until_end(1)
        await client.until_closed()


async def test_who_has_nobody_to_answer_leaves_at_once() -> None:
    async with served() as (node, _, client):
        await until(lambda: node.ready == 1)
        node.http.leave()
        node.http.leave()
        assert node.ended == 1
        await client.until_closed()
        assert [f.kind for f in client.seen].count(GOAWAY) == 1


async def test_an_error_of_the_peer_is_said_before_the_end() -> None:
    async with served(HELLO + request(1)) as (node, _, client):
        user = await node.user()
        client.say(window(0, 0))
        goodbye = await client.until_kind(GOAWAY)
        assert goodbye.code == ErrorCode.PROTOCOL_ERROR
        assert goodbye.payload[8:] == b"no window of the connection"
        await client.until_closed()
        assert (node.ended, user.lost) == (1, 1)


async def test_a_stream_that_is_reset_right_before_an_error_is_lost_too() -> None:
    async with served(HELLO + request(1)) as (node, _, client):
        user = await node.user()
        client.say(reset(1) + window(0, 0))
        await client.until_closed()
        assert (node.ended, user.lost) == (1, 1)


@pytest.mark.parametrize(
    "state",
    [
        b"",
        PREFACE[:5],
        PREFACE,
        HELLO,
        HELLO + request(1)[:12],
        HELLO + request(1),
        HELLO + request(1) + data(1, b"hello")[:11],
        HELLO + request(1, is_end=True),
        HELLO + request(1) + reset(1),
    ],
)
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_wire_that_is_lost_in_any_state_ends_everything_once(
    state: bytes, how: str
) -> None:
    async with served(state) as (node, wire, client):
        if PREFACE in state:
            await client.until_kind(SETTINGS)
        await asyncio.sleep(0)
        if how == "end":
            client.writer.close()
        else:
            client.writer.transport.abort()
        await until(lambda: node.ended == 1)
        wire.abort()
        await asyncio.sleep(0)
        assert node.ended == 1
        assert [user.lost for user in node.users] in ([], [1])
        assert node.http.is_idle or all(user.lost for user in node.users)


async def test_a_lost_connection_takes_answers_and_forgets_them() -> None:
    async with served(LARGE + request(1, is_end=True)) as (node, _, client):
        user = await node.user()
        client.writer.transport.abort()
        await until(lambda: user.lost == 1)
        node.http.send_data(user.stream, (b"late",))
        node.http.send_trailers(user.stream, DONE)
        node.http.flush()
        node.http.say_goodbye()
        node.http.leave()
        assert node.ended == 1


async def test_what_we_reset_is_not_told_to_its_user() -> None:
    async with served(HELLO + request(1)) as (node, _, client):
        user = await node.user()
        node.http.reset(user.stream, ErrorCode.CANCEL)
        assert (await client.until_kind(RST, 1)).code == ErrorCode.CANCEL
        client.say(data(1, b"late", is_end=True), reset(1))
        await client.settled()
        assert (user.lost, bytes(user.data)) == (0, b"")
