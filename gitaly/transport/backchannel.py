"""Calls in the other direction: our gRPC client to the server at the peer's end of a session.

Praefect serves `gitaly.RefTransaction` there. gRPC's client dials a private socket; what it opens
is carried to a new stream of the session. No TLS, no token: the peer asks for none.
"""

import asyncio
import os
import secrets
from typing import Final, Self

from grpc import aio

from gitaly.errors import NodeError, Unavailable
from gitaly.transport.connections import Connections
from gitaly.transport.mux import MuxSession
from gitaly.transport.stream_socket import StreamSocket

# The peer's server sets no keep-alive policy: pings of ours would be answered with GOAWAY.
OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 2**31 - 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
CLOSE_SECONDS: Final = 5  # for calls to notice that their connection is gone


class NoBackchannel(NodeError):
    """The connection of that number is gone, was never there, or carries plain gRPC."""

    def __init__(self, number: int) -> None:
        super().__init__(f"no backchannel for peer {number}")


class Backchannels:
    """The backchannels of all connections; each is made when first asked for, and ends with its
    connection. Use it in an `async with`: what is open at its end is closed."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._open: dict[int, _Backchannel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in list(self._open):
            self._end(number)
        if self._closing:
            await asyncio.wait(self._closing)

    def channel(self, number: int) -> aio.Channel:
        """The channel to the peer of a connection, by its `backchannel_id`.

        Calls on it end with UNAVAILABLE when the connection does. Raises NoBackchannel, and
        Unavailable if no descriptor is left.
        """
        found = self._open.get(number)
        if found is None:
            connection = self._connections.by_number(number)
            if connection is None or connection.session is None or connection.session.is_lost:
                raise NoBackchannel(number)
            try:
                found = self._open[number] = _Backchannel(connection.session)
            except OSError as error:
                raise Unavailable(f"open backchannel: {error.strerror}") from error
            connection.at_end.append(lambda: self._end(number))
        return found.channel

    def _end(self, number: int) -> None:
        found = self._open.pop(number, None)
        if found is not None:
            closing = asyncio.create_task(found.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class _Backchannel:
    """The channel of one session, and the socket in between."""

    def __init__(self, session: MuxSession) -> None:
        name = f"gitaly-{os.getpid()}-{secrets.token_hex(8)}-back"
        self._socket = StreamSocket(session, f"\0{name}")
        self._socket.open()
        self.channel = aio.insecure_channel(f"unix-abstract:{name}", options=OPTIONS)

    async def close(self) -> None:
        """End all calls, then the channel."""
        self._socket.close()
        self._socket.abort_relays()
        # With no grace, the calls would look to those who wait for them as if they were cancelled.
        await self.channel.close(CLOSE_SECONDS)
