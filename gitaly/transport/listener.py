"""Accepts connections, looks at their first bytes and hands them to who understands them."""

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gitaly.errors import NodeError
from gitaly.observe.log import Logger
from gitaly.transport.connections import Connection, Connections
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.relay import Relay
from gitaly.transport.wire import SocketWire, TransportWire, Wire
from gitaly.transport.yamux_frames import NODE_LIMITS

MAGIC: Final = b"backchannel"
HANDSHAKE_SECONDS: Final = 120  # TLS and the first bytes. Source: grpc-go, connection timeout
BACKLOG: Final = 1024
ACCEPTS_PER_WAKE: Final = 32


class CannotListen(NodeError):
    """An address cannot be listened on; the text says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to listen."""

    kind: str  # "tcp", "tls", "unix"
    address: str  # "host:port", or the path of a socket
    tls: ssl.SSLContext | None = None
    is_internal: bool = False  # for hooks of our own git children


class _FirstBytes:
    """The user of a wire until it is known what speaks on it."""

    def __init__(self, on_known: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self._seen = bytearray()
        self._on_known = on_known
        self._on_lost = on_lost
        self._done = False

    def bytes_received(self, data: memoryview) -> None:
        self._seen += data
        if not self._done and len(self._seen) >= len(MAGIC):
            self._done = True
            self._on_known(bytes(self._seen))

    def eof_received(self) -> None:
        self._on_lost()

    def writable(self) -> None:
        """Nothing was written."""

    def wire_lost(self, _: Exception | None) -> None:
        self._on_lost()


class Listener:
    """One listening socket."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        core_path: str,  # the unix socket of the gRPC core that serves what is accepted here
        connections: Connections,
        on_accept: Callable[[str], None],  # counts, by kind
        logger: Logger,
    ) -> None:
        self.endpoint = endpoint
        self._core_path = core_path
        self._connections = connections
        self._on_accept = on_accept
        self._logger = logger
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._identity: tuple[int, int] | None = None

    @property
    def port(self) -> int:
        """The TCP port that is listened on; useful where port 0 was asked for."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def open(self) -> None:
        """Listen. Raises CannotListen."""
        try:
            if self.endpoint.kind == "unix":
                self._socket = _listen_on_path(self.endpoint.address)
                found = os.stat(self.endpoint.address)
                self._identity = (found.st_dev, found.st_ino)
            else:
                self._socket = _listen_on_port(self.endpoint.address)
        except OSError as error:
            why = error.strerror or str(error)
            raise CannotListen(f"listen on {self.endpoint.address}: {why}") from error
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept)
        self._logger.info(
            "listening at address", address=self.endpoint.address, schema=self.endpoint.kind
        )

    def close(self) -> None:
        """Accept nothing more; what is accepted goes on. The socket's path is removed."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        if self.endpoint.kind == "unix":
            with contextlib.suppress(OSError):
                found = os.stat(self.endpoint.address)
                if (found.st_dev, found.st_ino) == self._identity:  # a successor's stays
                    os.unlink(self.endpoint.address)

    def _accept(self) -> None:
        assert self._socket is not None
        for _ in range(ACCEPTS_PER_WAKE):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors: those who are connected go on
                self._logger.error("cannot accept a connection", error=str(error))
                self._rest_a_moment()
                return
            self._on_accept(self.endpoint.kind)
            self._begin(accepted, address)

    def _rest_a_moment(self) -> None:
        assert self._socket is not None
        loop, fd = asyncio.get_running_loop(), self._socket.fileno()
        loop.remove_reader(fd)
        loop.call_later(0.2, lambda: self._socket and loop.add_reader(fd, self._accept))

    def _begin(self, accepted: socket.socket, address: object) -> None:
        accepted.setblocking(False)
        peer = ""
        if self.endpoint.kind != "unix" and isinstance(address, tuple):
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            peer = f"{host}:{address[1]}"
            _tune(accepted)
        if self.endpoint.tls is None:
            wire = SocketWire(accepted)
            self._look(wire, peer)
            wire.resume_reading()
        else:
            task = asyncio.get_running_loop().create_task(self._handshake(accepted, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handshake(self, accepted: socket.socket, peer: str) -> None:
        wire = TransportWire()
        self._look(wire, peer)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: wire,
                accepted,
                ssl=self.endpoint.tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError) as error:  # scanners and wrong clients: not our fault
            self._logger.info("TLS handshake failed", peer=peer, error=str(error))
            accepted.close()
            wire.user.wire_lost(None)

    def _look(self, wire: SocketWire | TransportWire, peer: str) -> None:
        connection = self._connections.add(
            is_internal=self.endpoint.is_internal, peer_address=peer, wire=wire
        )
        timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, wire.abort)

        def known(seen: bytes) -> None:
            timer.cancel()
            if seen.startswith(MAGIC):
                self._serve_session(connection, seen[len(MAGIC) :])
            else:
                self._serve_plain(connection, connection.wire, seen)

        def lost() -> None:
            timer.cancel()
            self._connections.remove(connection)
            wire.abort()

        wire.user = _FirstBytes(known, lost)

    def _serve_plain(self, connection: Connection, near: Wire, seen: bytes) -> None:
        """Carry a connection to the gRPC core."""
        try:
            far = _connect_to_core(self._core_path, connection.core_name)
        except OSError as error:
            self._logger.error("cannot reach the gRPC core", error=str(error))
            near.abort()
            self._connections.remove(connection)
            return
        relay = Relay(on_end=lambda: self._ended(connection))
        relay.couple(near, SocketWire(far), seen)

    def _serve_session(self, connection: Connection, seen: bytes) -> None:
        """Run yamux; the one stream that the peer may open is its gRPC connection."""

        def opened(stream: MuxStream) -> None:
            assert connection.session is not None
            connection.session.accept(stream)
            self._serve_plain(connection, stream, b"")

        connection.session = MuxSession(
            connection.wire,
            is_client=False,
            limits=NODE_LIMITS,
            on_stream=opened,
            on_end=lambda _: self._connections.remove(connection),
        )
        connection.session.start(seen)

    def _ended(self, connection: Connection) -> None:
        if connection.session is not None:
            connection.session.close()
        self._connections.remove(connection)


def _tune(accepted: socket.socket) -> None:
    """No delay for small frames; notice clients that are gone without a word."""
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


def _connect_to_core(path: str, name: str) -> socket.socket:
    """A connection to the core whose own end has an abstract name. Raises OSError."""
    far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        far.bind(f"\0{name}")
        far.connect(path)
    except OSError:
        far.close()
        raise
    far.setblocking(False)
    return far


def _listen_on_port(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, where = sorted(found, key=lambda entry: entry[0] != socket.AF_INET6)[
        0 if not host else -1
    ]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(host)))
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _listen_on_path(path: str) -> socket.socket:
    """Replace the socket of a dead process; leave one alone behind which somebody answers."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise CannotListen(f"listen on {path}: exists and is not a socket")
        if _answers(path):
            raise CannotListen(f"listen on {path}: another process listens there")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = f"{path}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        listening.bind(temporary)
        listening.listen(BACKLOG)
        os.rename(temporary, path)  # clients see the old socket or the new one, never none
    except OSError:
        listening.close()
        raise
    return listening


def _answers(path: str) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(1)
        probe.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    finally:
        probe.close()
    return True
