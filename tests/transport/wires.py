"""Wires over real sockets, with a blocking peer at the other end, and users that write down."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from gitaly.transport.tls_wire import TransportWire
from gitaly.transport.wire import Buffer, SocketWire, Wire
from tests.config.pem import CERTIFICATE, KEY


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody tells."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class Notes:
    """A user that remembers what it was told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.said: list[str] = []
        self.error: Exception | None = None
        self._news = asyncio.Event()

    def bytes_received(self, data: memoryview) -> None:
        self.data += data
        self._news.set()

    def eof_received(self) -> None:
        self._note("eof")

    def writable(self) -> None:
        self._note("writable")

    def wire_lost(self, error: Exception | None) -> None:
        self.error = error
        self._note("lost")

    def _note(self, what: str) -> None:
        self.said.append(what)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def until_said(self, what: str) -> None:
        await self.until(lambda: what in self.said)


class Failing(Notes):
    """A user with a bug."""

    def bytes_received(self, data: memoryview) -> None:
        raise ZeroDivisionError("a bug")


class Echo(Notes):
    """A user that says what it hears."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire

    def bytes_received(self, data: memoryview) -> None:
        self.wire.write((data,))


class Full:
    """A wire that takes nothing and remembers what was done to it."""

    def __init__(self) -> None:
        self.user: object = None
        self.backlog = 0
        self.calls: list[str] = []

    def write(self, buffers: Sequence[Buffer]) -> None:
        self.backlog += sum(map(len, buffers))

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def finish(self) -> None:
        self.calls.append("finish")

    def abort(self) -> None:
        self.calls.append("abort")


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection; the first one does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    peer.settimeout(20)
    return ours, peer


def unix_pair() -> tuple[socket.socket, socket.socket]:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.settimeout(20)
    return ours, peer


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """A block in which this process can open nothing."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def certificate(directory: Path) -> tuple[Path, Path]:
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_text(CERTIFICATE)
    files[1].write_text(KEY)
    return files


def client_context() -> ssl.SSLContext:
    """Trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.asynccontextmanager
async def connected(kind: str, directory: Path) -> AsyncIterator[tuple[Wire, socket.socket]]:
    """A wire that reads nothing yet and its peer; "unix", "tcp" or "tls"."""
    ours, peer = unix_pair() if kind == "unix" else tcp_pair()
    wire: Wire
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(directory))
        wrapping = asyncio.create_task(asyncio.to_thread(client_context().wrap_socket, peer))
        wire = encrypted = TransportWire()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: encrypted, ours, ssl=context, ssl_shutdown_timeout=1
        )
        peer = await wrapping
        wire.pause_reading()
    else:
        wire = SocketWire(ours)
    wire.user = notes = Notes()
    with peer:
        yield wire, peer
        wire.abort()
        if wire.user is notes:
            await notes.until_said("lost")
    await asyncio.sleep(0)


async def received(peer: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or those before the end."""

    def receive() -> bytes:
        found = bytearray()
        while len(found) < size and (piece := peer.recv(min(size - len(found), 65536))):
            found += piece
        return bytes(found)

    return await asyncio.to_thread(receive)
