"""Connections that break the rules or break off: the node forgets them and serves the others."""

import asyncio
import contextlib
import os
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.nodes import MIB, Served, a_node
from tests.transport.wires import client_context, received, until
from tests.transport.yamux_wire import GO_AWAY_PROTOCOL_ERROR, OPEN_1, data

MAGIC = b"backchannel"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")
PING = bytes.fromhex("00 02 0001 00000000 00000007")
PONG = bytes.fromhex("00 02 0002 00000000 00000007")
REFUSAL = bytes.fromhex("00 01 0008")
RANDOM = random.Random(5).randbytes(100_000)

KINDS = pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with a_node(tmp_path) as node:
        assert await node.is_healthy()
        await node.quiet()
        yield node


async def connect(served: Served, kind: str) -> socket.socket:
    """A connection on which gRPC could begin."""
    peer = served.connect(kind)
    if kind == "tls":
        return await asyncio.to_thread(client_context().wrap_socket, peer)
    return peer


async def everything(peer: socket.socket) -> bytes:
    """What comes until the node closes; a reset is an end too."""
    found = b""
    try:
        while piece := await received(peer, 1):
            found += piece
    except (ConnectionResetError, ssl.SSLError):
        pass
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@KINDS
@pytest.mark.parametrize(
    "garbage",
    [
        RANDOM,
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # the hello of TLS
        MAGIC + RANDOM,
        MAGIC + b"\1" + OPEN_1[1:],
        MAGIC + OPEN_1 + OPEN_1,
        MAGIC + OPEN_1 + data(1, RANDOM),
        MAGIC + OPEN_1 + data(1, b"GET / HTTP/1.1\r\n\r\n"),
    ],
    ids=[
        "random bytes",
        "HTTP/1.1",
        "TLS in the clear",
        "random frames",
        "another version of yamux",
        "a stream opened twice",
        "random bytes instead of gRPC",
        "HTTP/1.1 in a stream",
    ],
)
async def test_garbage_ends_its_connection_and_no_other(
    served: Served, kind: str, garbage: bytes
) -> None:
    with await connect(served, kind) as peer:
        with contextlib.suppress(OSError):  # the node may have enough before the end
            await asyncio.to_thread(peer.sendall, garbage)
        await everything(peer)
        await served.quiet()
    assert await served.is_healthy()


@KINDS
@pytest.mark.parametrize("said", [b"", b"backchan", MAGIC, MAGIC + OPEN_1[:6], PREFACE[:20]])
async def test_a_connection_that_breaks_off_is_forgotten(
    served: Served, kind: str, said: bytes
) -> None:
    with await connect(served, kind) as peer:
        peer.sendall(said)
        await until(lambda: len(served.connections) == 1)
    await served.quiet()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_tls_handshake_that_breaks_off_is_forgotten(served: Served, said: bytes) -> None:
    with served.connect("tls") as peer:
        peer.sendall(said)
        await until(lambda: len(served.connections) == 1)
    await served.quiet()
    [line] = [line for line in served.lines() if line["msg"] == "TLS handshake failed"]
    assert line["peer"].startswith("127.0.0.1:")


async def test_plain_bytes_on_the_port_of_tls_are_refused(served: Served) -> None:
    with served.connect("tls") as peer:
        peer.sendall(PREFACE)
        await everything(peer)
    await served.quiet()
    assert await served.is_healthy()


async def test_too_many_bytes_for_a_window_end_the_session(served: Served) -> None:
    with await connect(served, "tcp") as peer:
        await asyncio.to_thread(peer.sendall, MAGIC + OPEN_1)
        await received(peer, 12)
        # the core reads nothing behind the preface of a client that does not go on
        frame = struct.pack(">BBHII", 0, 0, 0, 1, 16 * MIB + 1)
        await asyncio.to_thread(peer.sendall, frame)
        assert (await everything(peer)).endswith(GO_AWAY_PROTOCOL_ERROR)
    await served.quiet()


async def test_ten_thousand_streams_hurt_nobody(served: Served) -> None:
    opens = b"".join(struct.pack(">BBHII", 0, 1, 1, 3 + 2 * n, 0) for n in range(10_000))
    before = open_descriptors()
    with await connect(served, "tcp") as peer:
        await asyncio.to_thread(peer.sendall, MAGIC + OPEN_1 + opens + PING)
        assert await served.is_healthy()
        said = b""
        while PONG not in said:
            said += await asyncio.to_thread(peer.recv, 65536)
        assert said.count(REFUSAL) == 10_000
        assert open_descriptors() - before < 10
    await served.quiet()


async def test_a_flood_of_pings_hurts_nobody(served: Served) -> None:
    with await connect(served, "tcp") as peer:
        peer.settimeout(0.5)
        peer.sendall(MAGIC + OPEN_1)
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += await asyncio.to_thread(peer.send, PING * 20_000)
        except TimeoutError:
            pass
        assert sent < 64 * MIB
        [connection] = [*served.connections]
        assert connection.wire.backlog < 2 * MIB
        assert await served.is_healthy()
    await served.quiet()


@KINDS
@pytest.mark.parametrize("said", [b"", b"backchan", PREFACE, MAGIC + OPEN_1 + data(1, PREFACE)])
async def test_two_hundred_connections_leave_nothing(
    served: Served, kind: str, said: bytes
) -> None:
    before = open_descriptors()
    for _ in range(4):
        peers = [await connect(served, kind) for _ in range(50)]
        for peer in peers:
            peer.sendall(said)
        await until(lambda: len(served.connections) == 50)
        for peer in peers:
            peer.close()
        await served.quiet()
    await until(lambda: open_descriptors() <= before)
    assert [line for line in served.lines() if line["level"] == "error"] == []


async def test_two_hundred_connections_at_once_are_all_served(served: Served) -> None:
    peers = [served.connect() for _ in range(200)]
    for peer in peers:
        peer.sendall(PREFACE)
    for peer in peers:
        assert (await received(peer, 9))[3] == 4  # the core's SETTINGS
    assert len(served.connections) == 200
    for peer in peers:
        peer.close()
    await served.quiet()


async def test_the_node_ends_while_strangers_are_connected(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        peers = [served.connect(kind) for kind in ("tcp", "unix", "tls") for _ in range(3)]
        peers[0].sendall(MAGIC)
        peers[1].sendall(MAGIC + OPEN_1 + data(1, PREFACE))
        await until(lambda: len(served.connections) == 9)
    for peer in peers:
        await everything(peer)
        peer.close()
