"""A local socket whose connections are carried to streams of a session."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from gitaly.transport.mux import MuxStream
from gitaly.transport.stream_socket import StreamSocket
from tests.transport.sessions import Side, two_sides
from tests.transport.wires import Echo, no_descriptors, received, until


def echo(client: Side, number: int) -> MuxStream:
    stream = client.opened[number]
    stream.user = Echo(stream)
    stream.resume_reading()
    return stream


async def connect(path: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    peer.connect(path)
    return peer


async def test_each_connection_gets_a_stream_and_ends_with_it(short_path: Path) -> None:
    async with two_sides() as (node, client):
        local = StreamSocket(node.session, str(short_path / "c-1"))
        local.open()
        peers = [await connect(str(short_path / "c-1")) for _ in range(2)]
        await until(lambda: len(client.opened) == 2)
        for number, peer in enumerate(peers):
            stream = echo(client, number)
            peer.sendall(b"hello")
            assert await received(peer, 5) == b"hello"
            stream.finish()
            assert await received(peer, 1) == b""
            peer.close()
        local.close()
    assert not (short_path / "c-1").exists()


async def test_without_a_session_nobody_is_served(short_path: Path) -> None:
    async with two_sides() as (node, _):
        local = StreamSocket(node.session, str(short_path / "c-1"))
        local.open()
        node.session.close()
        with await connect(str(short_path / "c-1")) as peer:
            assert await received(peer, 1) == b""
        os.unlink(short_path / "c-1")
        local.close()


async def test_a_connection_waits_while_there_are_no_descriptors(short_path: Path) -> None:
    async with two_sides() as (node, client):
        local = StreamSocket(node.session, str(short_path / "c-1"))
        local.open()
        with await connect(str(short_path / "c-1")), no_descriptors():
            await asyncio.sleep(0.05)
            assert client.opened == []
        await until(lambda: len(client.opened) == 1)
        local.close()
        local.abort_relays()


async def test_a_path_that_is_taken_is_an_error(short_path: Path) -> None:
    (short_path / "c-1").touch()
    async with two_sides() as (node, _):
        local = StreamSocket(node.session, str(short_path / "c-1"))
        with pytest.raises(OSError, match="Address already in use"):
            local.open()
        local.close()
    assert (short_path / "c-1").exists()
