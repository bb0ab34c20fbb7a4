"""Looks at the first bytes of an accepted connection and hands it to who understands them."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gitaly.observe.log import Logger
from gitaly.transport.connections import Connection, Connections
from gitaly.transport.http2 import Http2Connection
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.tls_wire import TransportWire
from gitaly.transport.wire import SocketWire, Wire
from gitaly.transport.yamux_frames import NODE_LIMITS

MAGIC: Final = b"backchannel"
HANDSHAKE_SECONDS: Final = 120  # TLS, first bytes, first stream. Source: grpc-go, defaults
GOODBYE_SECONDS: Final = 1  # for a client to answer the end of TLS with its own


class Server(Protocol):
    """Who serves gRPC on a connection."""

    def serve(
        self,
        wire: Wire,
        came_on: Connection,
        received: bytes,
        *,
        on_ready: Callable[[], None],
        on_end: Callable[[], None],
    ) -> Http2Connection:
        """From now on. `received` has been read already; `on_ready`: the client speaks HTTP/2;
        `on_end`: nothing more is served, and the wire is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What every newcomer to a listener meets."""

    server: Server
    connections: Connections
    logger: Logger
    tls: ssl.SSLContext | None = None
    is_internal: bool = False  # for hooks of our own git children
    handshake_seconds: float = HANDSHAKE_SECONDS


class Newcomer:
    """One connection until it is served, and the user of its wire until it is known what speaks
    on it."""

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
        else:
            self._serve_plain(self._wire, self._seen)

    def eof_received(self) -> None:
        self._wire.abort()

    def writable(self) -> None:
        """Nothing was written."""

    def wire_lost(self, _: Exception | None) -> None:
        """Nobody had begun to use it."""

    # What may speak on it

    def _serve_plain(
        self, wire: Wire, seen: bytes = b"", on_end: Callable[[], None] = lambda: None
    ) -> None:
        """Serve what is gRPC, or turns out not to be."""
        connection = self._connection
        connection.http = self._reception.server.serve(
            wire, connection, seen, on_ready=self._identified, on_end=on_end
        )

    def _identified(self) -> None:
        self._timer.cancel()
        self._connection.is_identified = True

    def _serve_session(self, seen: bytes) -> None:
        """Run yamux; the one stream that the peer may open is its gRPC connection."""

        def opened(stream: MuxStream) -> None:
            session.accept(stream)
            self._serve_plain(stream, on_end=session.finish)

        session = MuxSession(
            self._wire,
            is_client=False,
            limits=NODE_LIMITS,
            on_stream=opened,
            sizes=self._reception.connections.mux_sizes,
        )
        self._connection.session = session
        session.start(seen)


def _words(error: BaseException) -> str:
    """Some errors have none: of a client that just went away."""
    return str(error) or type(error).__name__
