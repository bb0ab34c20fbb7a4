"""The gRPC server: calls on the streams of all connections, from their fields to their status.

It speaks HTTP/2 in this process and on this thread. (grpc.aio cannot serve a connection that
somebody else has accepted, so that each had to be relayed to it, and a call cost twice as much.)
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc

from gitaly.rpc import answer_fields
from gitaly.rpc.call import Connection
from gitaly.rpc.contract import Method
from gitaly.rpc.exchange import Exchange
from gitaly.rpc.request_head import RequestHead, read_head
from gitaly.rpc.status import Outcome
from gitaly.rpc.steps import Handler
from gitaly.transport.http2 import Http2Connection, Stream, StreamUser
from gitaly.transport.wire import Wire

STOPPED: Final = Outcome(
    code=grpc.StatusCode.UNAVAILABLE,
    message="the node is being stopped",
    log_error="the node is being stopped",
)
NOT_GRPC_TEXT: Final = b"This is a Gitaly node. It speaks gRPC, and this is another request.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What serves a method."""

    method: Method
    handler: Handler


class Core:
    """Serves calls on the connections that it is given."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        """`routes`: by the path of the method."""
        self._routes = routes
        self._services = {route.method.service for route in routes.values()}
        self._connections: set[Http2Connection] = set()
        self._running: set[Exchange] = set()
        self._is_stopped = False
        self._is_done = asyncio.Event()

    def serve(
        self,
        wire: Wire,
        came_on: Connection | None = None,
        received: bytes = b"",
        *,
        on_ready: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> Http2Connection:
        """Serve a connection. `received` has been read from it already; `on_ready`: the client
        speaks HTTP/2; `on_end`: nothing more is served on it, and its wire is finished."""

        def begin(connection: Http2Connection, stream: Stream, head: RequestHead) -> StreamUser:
            route = self._routes.get(head.path) if head.is_grpc else None
            if route is None:
                return self._refuse(connection, stream, head)
            return Exchange(
                connection,
                stream,
                head,
                method=route.method,
                handler=route.handler,
                came_on=came_on,
                owner=self,
            )

        def end() -> None:
            self._connections.discard(connection)
            on_end()

        connection = Http2Connection(
            wire, read=read_head, begin=begin, on_ready=on_ready, on_end=end
        )
        self._connections.add(connection)
        if self._is_stopped:  # whatever it has asked already, it may ask elsewhere
            connection.start()
            connection.leave()
        else:
            connection.start(received)
        return connection

    def _refuse(self, connection: Http2Connection, stream: Stream, head: RequestHead) -> StreamUser:
        if head.is_grpc:
            code, text = grpc.StatusCode.UNIMPLEMENTED, self._unknown(head.path)
            block = answer_fields.last(code, text, (), connection.peer_list_bytes)
            connection.send_trailers(stream, answer_fields.only(block))
        else:
            connection.send_headers(stream, answer_fields.NOT_GRPC)
            connection.send_data(stream, (NOT_GRPC_TEXT,))
            connection.send_trailers(stream, b"")
        return _Refused()

    def _unknown(self, path: str) -> str:
        """In the words of the reference's library, by which clients know an older server."""
        service, slash, method = path.removeprefix("/").rpartition("/")
        if not slash:
            return f"malformed method name: {path!r}"
        if service not in self._services:
            return f"unknown service {service}"
        return f"unknown method {method} for service {service}"

    # The owner of exchanges

    def began(self, exchange: Exchange) -> None:
        self._running.add(exchange)
        self._is_done.clear()

    def ended(self, exchange: Exchange) -> None:
        self._running.discard(exchange)
        if not self._running:
            self._is_done.set()

    async def stop(self, grace_seconds: float | None) -> None:
        """Take no new calls, let running ones end within the grace, then cancel them.

        None: cancel them now, also while an earlier stop still waits.
        """
        self._is_stopped = True
        for connection in list(self._connections):
            connection.leave()
        if grace_seconds is not None and self._running:
            try:
                async with asyncio.timeout(grace_seconds):
                    await self._is_done.wait()
            except TimeoutError:
                pass
        for exchange in list(self._running):
            exchange.cancel(STOPPED)


class _Refused:
    """The user of a stream that was answered at once."""

    def data_received(self, data: bytes, *, is_end: bool) -> None:
        """Nobody is interested."""

    def stream_lost(self) -> None:
        """Nobody is interested."""

    def stream_writable(self) -> None:
        """Nobody is interested."""
