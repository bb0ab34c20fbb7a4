"""A local socket of ours; what our own gRPC core says on it goes to a new stream of a session.

The core dials by name only, and cannot be given a connection. Used in both directions: by a node
for calls to its client, and by a client for its calls to a node.
"""

import asyncio
import contextlib
import os
import socket
import struct
from typing import Final

from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.relay import Relay
from gitaly.transport.wire import SocketWire
from gitaly.transport.yamux_frames import CannotOpen

REST_SECONDS: Final = 0.2  # when nothing can be accepted
CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid. Source: unix(7), SO_PEERCRED


class StreamSocket:
    """Listens from `open` on; each connection gets a stream, and ends with it."""

    def __init__(self, session: MuxSession, address: str) -> None:
        self._session = session
        self._address = address  # a path, or an abstract name behind a null character
        self._socket: socket.socket | None = None
        self._relays: set[Relay] = set()

    def open(self) -> None:
        """Listen. Raises OSError."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(self._address)
            listening.listen(8)
        except OSError:
            listening.close()
            raise
        listening.setblocking(False)
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening.fileno(), self._accept)

    def close(self) -> None:
        """Listen no more, and remove the path; what is connected goes on."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        if not self._address.startswith("\0"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._address)

    def abort_relays(self) -> None:
        """End everything that is connected."""
        for relay in list(self._relays):
            relay.abort()

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left; to be woken for it again and again helps nobody
            self._rest_a_moment(self._socket)
            return
        try:
            stream = self._stream_for(accepted)
        except (CannotOpen, ConnectionError):
            accepted.close()
            return
        accepted.setblocking(False)
        relay = Relay(on_end=lambda: self._relays.discard(relay))
        self._relays.add(relay)
        relay.couple(SocketWire(accepted), stream)

    def _rest_a_moment(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening.fileno())

        def go_on() -> None:
            if self._socket is listening:
                loop.add_reader(listening.fileno(), self._accept)

        loop.call_later(REST_SECONDS, go_on)

    def _stream_for(self, accepted: socket.socket) -> MuxStream:
        """Raises ConnectionError for strangers: an abstract name is open to every user."""
        peer = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        if CREDENTIALS.unpack(peer)[0] != os.getpid():
            raise ConnectionRefusedError("not a process of ours")
        return self._session.open_stream()
