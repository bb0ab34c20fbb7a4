"""Calls in the other direction: our gRPC client to the server at the peer's end of a session.

Praefect serves `gitaly.RefTransaction` there. The gRPC core dials a private unix socket; what it
opens is carried to a new stream of the session. No TLS, no token: the peer asks for none.
"""

from grpc import aio

from gitaly.errors import Unavailable
from gitaly.transport.mux import MuxSession
from gitaly.transport.stream_socket import StreamSocket

# The peer's server sets no keep-alive policy: pings of ours would be answered with GOAWAY.
OPTIONS = (("grpc.keepalive_time_ms", 2**31 - 1), ("grpc.enable_http_proxy", 0))


class Backchannel:
    """Made when first needed, one for each session; ends with it."""

    def __init__(self, session: MuxSession, path: str) -> None:
        self._session = session
        self._path = path  # of the private socket; unique to the connection
        self._socket = StreamSocket(session, path)
        self._channel: aio.Channel | None = None

    def channel(self) -> aio.Channel:
        """The channel; dials when first used. Raises Unavailable if the session is over."""
        if self._session.is_lost:
            raise Unavailable("backchannel: session shutdown")
        if self._channel is None:
            self._socket.open()
            self._channel = aio.insecure_channel(f"unix:{self._path}", options=OPTIONS)
        return self._channel

    async def aclose(self) -> None:
        """End all calls and remove the socket."""
        self._socket.close()
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        self._socket.abort_relays()
