"""Looks at the first bytes of an accepted connection and hands it to who understands them."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from gitaly.observe.log import Logger
from gitaly.transport.connections import Connections
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.relay import Relay
from gitaly.transport.tls_wire import TransportWire
from gitaly.transport.wire import SocketWire, Wire
from gitaly.transport.yamux_frames import NODE_LIMITS

MAGIC: Final = b"backchannel"
HANDSHAKE_SECONDS: Final = 120  # TLS, first bytes, first stream. Source: grpc-go, defaults
GOODBYE_SECONDS: Final = 1  # for a client to answer the end of TLS with its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What every newcomer to a listener meets."""

    core_path: str  # the unix socket of the gRPC core that serves what is accepted here
    connections: Connections
    logger: Logger
    tls: ssl.SSLContext | None = None
    is_internal: bool = False  # for hooks of our own git children
    handshake_seconds: float = HANDSHAKE_SECONDS


class Newcomer:
    """One connection until it is carried to the gRPC core, and the user of its wire until it is
    known what speaks on it."""

    def __init__(self, accepted: socket.socket, peer_address: str, reception: Reception) -> None:
        self._reception = reception
        self._seen = b""
        self._wire: SocketWire | TransportWire
        loop = asyncio.get_running_loop()
        if reception.tls is None:
            self._wire = SocketWire(accepted, self, self._closed)
            self._wire.resume_reading()
        else:
            self._wire = TransportWire(self, self._closed)
            self._wire.connecting = loop.create_task(
                self._handshake(self._wire, accepted, reception.tls)
            )
        self._timer = loop.call_later(reception.handshake_seconds, self._wire.abort)
        self._connection = reception.connections.add(
            is_internal=reception.is_internal, peer_address=peer_address, wire=self._wire
        )

    async def _handshake(
        self, wire: TransportWire, accepted: socket.socket, tls: ssl.SSLContext
    ) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: wire,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=self._reception.handshake_seconds,
                ssl_shutdown_timeout=GOODBYE_SECONDS,
            )
        except (OSError, asyncio.CancelledError) as error:
            accepted.close()
            wire.connection_lost(None)
            if isinstance(error, asyncio.CancelledError):
                raise
            self._reception.logger.info(  # scanners and wrong clients: not our fault
                "TLS handshake failed", peer=self._connection.peer_address, error=_words(error)
            )

    def _closed(self) -> None:
        self._timer.cancel()
        self._reception.connections.remove(self._connection)

    # The user of the wire, for the first bytes

    def bytes_received(self, data: memoryview) -> None:
        self._seen += data
        if len(self._seen) < len(MAGIC):
            return
        if self._seen.startswith(MAGIC):
            self._serve_session(self._seen[len(MAGIC) :])
        elif not self._serve_plain(self._wire, Relay(), self._seen):
            self._wire.abort()

    def eof_received(self) -> None:
        self._wire.abort()

    def writable(self) -> None:
        """Nothing was written."""

    def wire_lost(self, _: Exception | None) -> None:
        """Nobody had begun to use it."""

    # What may speak on it

    def _serve_plain(self, near: Wire, relay: Relay, seen: bytes = b"") -> bool:
        """Carry what is gRPC to the core; False: it cannot be reached."""
        try:
            far = _connect_to_core(self._reception.core_path, self._connection.core_name)
        except OSError as error:
            self._reception.logger.error("cannot reach the gRPC core", error=str(error))
            return False
        self._timer.cancel()  # from here on the core is as impatient as we are
        self._connection.is_identified = True
        self._connection.relay = relay
        relay.couple(near, self._reception.connections.carrier(far), seen)
        return True

    def _serve_session(self, seen: bytes) -> None:
        """Run yamux; the one stream that the peer may open is its gRPC connection."""

        def opened(stream: MuxStream) -> None:
            session.accept(stream)
            if not self._serve_plain(stream, Relay(on_end=session.finish)):
                session.close()

        session = MuxSession(self._wire, is_client=False, limits=NODE_LIMITS, on_stream=opened)
        self._connection.session = session
        session.start(seen)


def _words(error: BaseException) -> str:
    """Some errors have none: of a client that just went away."""
    return str(error) or type(error).__name__


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
