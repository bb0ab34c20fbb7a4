"""Calls in the other direction: our gRPC client to the server at the peer's end of a session.

Praefect serves `gitaly.RefTransaction` there. The gRPC core dials a private unix socket; what it
opens is carried to a new stream of the session. No TLS, no token: the peer asks for none.
"""

import asyncio
import contextlib
import os
import socket

from grpc import aio

from gitaly.errors import Unavailable
from gitaly.transport.mux import MuxSession
from gitaly.transport.relay import Relay
from gitaly.transport.wire import SocketWire
from gitaly.transport.yamux_frames import CannotOpen

# The peer's server sets no keep-alive policy: pings of ours would be answered with GOAWAY.
OPTIONS = (("grpc.keepalive_time_ms", 2**31 - 1), ("grpc.enable_http_proxy", 0))


class Backchannel:
    """Made when first needed, one for each session; ends with it."""

    def __init__(self, session: MuxSession, path: str) -> None:
        self._session = session
        self._path = path  # of the private socket; unique to the connection
        self._listening: socket.socket | None = None
        self._channel: aio.Channel | None = None
        self._relays: set[Relay] = set()

    def channel(self) -> aio.Channel:
        """The channel; dials when first used. Raises Unavailable if the session is over."""
        if self._session.is_lost:
            raise Unavailable("backchannel: session shutdown")
        if self._channel is None:
            self._listen()
            self._channel = aio.insecure_channel(f"unix:{self._path}", options=OPTIONS)
        return self._channel

    def _listen(self) -> None:
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self._path)
        self._listening.listen(8)
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listening is not None
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            accepted, _ = self._listening.accept()
            accepted.setblocking(False)
            try:
                stream = self._session.open_stream()
            except (CannotOpen, ConnectionError):
                accepted.close()
                return
            relay = Relay(on_end=lambda: self._relays.discard(relay))
            self._relays.add(relay)
            relay.couple(SocketWire(accepted), stream)

    async def aclose(self) -> None:
        """End all calls and remove the socket."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None
            os.unlink(self._path)
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        for relay in list(self._relays):
            relay.abort()
