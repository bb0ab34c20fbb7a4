"""Listeners: addresses that can't be had, and connections on which nobody says what they are."""

import asyncio
import io
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gitaly.observe.log import make_logger
from gitaly.transport.connections import Connection, Connections
from gitaly.transport.listener import CannotListen, Endpoint, Listener
from gitaly.transport.wire import Wire
from tests.transport.wires import certificate, client_context, no_descriptors, received, until
from tests.transport.yamux_wire import OPEN_1, data

MAGIC = b"backchannel"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Echo:
    """A server that says what it hears, and the user of the wires that it serves."""

    def __init__(self, wire: Wire, on_end: Callable[[], None]) -> None:
        self._wire = wire
        self._on_end = on_end

    def bytes_received(self, data: memoryview) -> None:
        self._wire.write((data,))

    def eof_received(self) -> None:
        self._wire.finish()
        self._on_end()

    def writable(self) -> None:
        """It has nothing more to say."""

    def wire_lost(self, _: Exception | None) -> None:
        self._on_end()


class Echoes:
    """Serves connections."""

    def serve(
        self,
        wire: Wire,
        came_on: Connection,
        received: bytes,
        *,
        on_ready: Callable[[], None],
        on_end: Callable[[], None],
    ) -> Any:
        wire.user = Echo(wire, on_end)
        on_ready()
        wire.write((received,))
        wire.resume_reading()


class Listening:
    """A listener in front of such a server."""

    def __init__(self, directory: Path, kind: str, **options: Any) -> None:
        self.connections = Connections()
        self.accepted: list[str] = []
        self.log = io.BytesIO()
        tls = None
        if kind == "tls":
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*certificate(directory))
        address = str(directory / "socket") if kind == "unix" else "127.0.0.1:0"
        self.listener = Listener(
            Endpoint(kind=kind, address=options.pop("address", address), tls=tls),
            server=Echoes(),
            connections=self.connections,
            on_accept=self.accepted.append,
            logger=make_logger(self.log, format="json"),
            **options,
        )

    def connect(self) -> socket.socket:
        """A connection on which nothing was said yet, not even for TLS."""
        endpoint = self.listener.endpoint
        if endpoint.kind == "unix":
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(endpoint.address)
        else:
            peer = socket.create_connection(("127.0.0.1", self.listener.port))
        peer.settimeout(20)
        return peer

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@asynccontextmanager
async def listening(directory: Path, kind: str, **options: Any) -> AsyncIterator[Listening]:
    found = Listening(directory, kind, **options)
    found.listener.open()
    try:
        yield found
    finally:
        found.listener.close()
        found.connections.abort()
        await until(lambda: not found.connections)


# Connections


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("cut", [1, 10, 11, 12, 24])
async def test_plain_connections_are_served_wherever_they_are_cut(
    short_path: Path, kind: str, cut: int
) -> None:
    async with listening(short_path, kind) as found:
        with found.connect() as peer:
            peer.sendall(PREFACE[:cut])
            await asyncio.sleep(0.01)
            peer.sendall(PREFACE[cut:])
            assert await received(peer, len(PREFACE)) == PREFACE
        await until(lambda: len(found.connections) == 0)
        assert found.accepted == [kind]


@pytest.mark.parametrize("cut", [1, 10, 11, 12, 23, 24])
async def test_sessions_begin_wherever_they_are_cut(short_path: Path, cut: int) -> None:
    said = MAGIC + OPEN_1 + data(1, PREFACE)
    async with listening(short_path, "tcp") as found:
        with found.connect() as peer:
            peer.sendall(said[:cut])
            await asyncio.sleep(0.01)
            peer.sendall(said[cut:])
            answer = await received(peer, 24 + len(PREFACE))
            assert answer[12:] == data(1, PREFACE)
        await until(lambda: len(found.connections) == 0)


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("said", [b"", b"backchanne", MAGIC, MAGIC + OPEN_1[:6]])
async def test_who_does_not_say_what_it_is_gets_closed_in_the_end(
    short_path: Path, kind: str, said: bytes
) -> None:
    async with listening(short_path, kind, handshake_seconds=0.3) as found:
        peer = found.connect()
        if kind == "tls" and said:
            peer = await asyncio.to_thread(client_context().wrap_socket, peer)
        peer.sendall(said)
        with peer:
            await until(lambda: found.accepted == [kind])
            await until(lambda: len(found.connections) == 0)


async def test_a_connection_that_speaks_is_not_closed_by_that_limit(short_path: Path) -> None:
    async with listening(short_path, "tcp", handshake_seconds=0.1) as found:
        with found.connect() as plain, found.connect() as session:
            plain.sendall(PREFACE)
            session.sendall(MAGIC + OPEN_1)
            assert await received(plain, 24) == PREFACE
            assert len(await received(session, 12)) == 12
            await asyncio.sleep(0.3)
            assert len(found.connections) == 2


async def test_aborting_a_tls_handshake_gives_everything_back(short_path: Path) -> None:
    async with listening(short_path, "tls") as found:
        with found.connect() as peer:
            await until(lambda: len(found.connections) == 1)
            for connection in found.connections:
                connection.wire.abort()
            assert await received(peer, 1) == b""
            await until(lambda: len(found.connections) == 0)


async def test_the_address_of_the_peer_is_known(short_path: Path) -> None:
    async with listening(short_path, "tcp", address="[::]:0") as found:
        with found.connect() as peer:
            await until(lambda: len(found.connections) == 1)
            [connection] = found.connections
            assert connection.peer_address == f"127.0.0.1:{peer.getsockname()[1]}"


async def test_a_listener_without_descriptors_goes_on_when_there_are_some(
    short_path: Path,
) -> None:
    async with listening(short_path, "tcp") as found:
        with found.connect() as peer, no_descriptors():
            await until(lambda: len(found.lines()) > 1)
            assert found.lines()[1]["error"] == "[Errno 24] Too many open files"
        with found.connect() as peer:
            peer.sendall(PREFACE)
            assert await received(peer, 24) == PREFACE


# Addresses


async def test_the_socket_of_a_dead_node_is_replaced(short_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(short_path / "socket"))
    dead.listen()
    dead.close()
    async with listening(short_path, "unix") as found:
        with found.connect() as peer:
            peer.sendall(PREFACE)
            assert await received(peer, 24) == PREFACE
    assert not (short_path / "socket").exists()


async def test_the_socket_of_a_living_node_is_left_alone(short_path: Path) -> None:
    async with listening(short_path, "unix") as first:
        second = Listening(short_path, "unix")
        with pytest.raises(CannotListen, match="socket: another process listens there"):
            second.listener.open()
        second.listener.close()
        with first.connect() as peer:
            peer.sendall(PREFACE)
            assert await received(peer, 24) == PREFACE


async def test_a_successor_keeps_its_socket(short_path: Path) -> None:
    async with listening(short_path, "unix"):
        os.unlink(short_path / "socket")
        successor = socket.socket(socket.AF_UNIX)
        successor.bind(str(short_path / "socket"))
    assert (short_path / "socket").exists()
    successor.close()


async def test_a_file_in_the_place_of_a_socket_is_left_alone(short_path: Path) -> None:
    (short_path / "socket").write_text("precious")
    with pytest.raises(CannotListen, match="socket: exists and is not a socket"):
        Listening(short_path, "unix").listener.open()
    assert (short_path / "socket").read_text() == "precious"


@pytest.mark.parametrize(
    ("kind", "address", "text"),
    [
        ("unix", "/tmp/" + "x" * 120, "AF_UNIX path too long"),
        ("unix", "/nonexistent/socket", "No such file or directory"),
        ("tcp", "192.0.2.1:0", "Cannot assign requested address"),
        ("tcp", "no.such.host.invalid:0", ""),
        ("tcp", "127.0.0.1:8075x", '"8075x" is not a port'),
        ("tcp", "127.0.0.1:70000", '"70000" is not a port'),
        ("tcp", "127.0.0.1", '"127.0.0.1" is not a port'),
    ],
)
async def test_an_address_that_cannot_be_had_is_named(
    short_path: Path, kind: str, address: str, text: str
) -> None:
    with pytest.raises(CannotListen) as caught:
        Listening(short_path, kind, address=address).listener.open()
    assert str(caught.value).startswith(f"listen on {address}: {text}")


async def test_a_port_that_is_taken_is_named(short_path: Path) -> None:
    async with listening(short_path, "tcp") as found:
        address = f"127.0.0.1:{found.listener.port}"
        with pytest.raises(CannotListen) as caught:
            Listening(short_path, "tcp", address=address).listener.open()
        assert str(caught.value) == f"listen on {address}: Address already in use"


async def test_without_a_host_both_families_are_listened_on(short_path: Path) -> None:
    async with listening(short_path, "tcp", address=":0") as found:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, found.listener.port)):
                pass
