"""A local socket of ours; what our own gRPC client says on it goes to a new stream of a session.

The client dials by name only, and cannot be given a connection. Used in both directions: by a node
for calls to its client, and by a client for its calls to a node.
"""

import contextlib
import os
import socket
import struct
from typing import Final

from gitaly.transport.accepting import Accepting
from gitaly.transport.listening import listen_on_new_path
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.relay import Relay
from gitaly.transport.wire import SocketWire
from gitaly.transport.yamux_frames import CannotOpen

CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid. Source: unix(7), SO_PEERCRED


class StreamSocket:
    """Listens from `open` on; each connection gets a stream, and ends with it."""

    def __init__(self, session: MuxSession, address: str) -> None:
        self._session = session
        self._address = address  # a path, or an abstract name behind a null character
        self._accepting: Accepting | None = None
        self._relays: set[Relay] = set()

    def open(self) -> None:
        """Listen. Raises OSError."""
        listening = listen_on_new_path(self._address)
        self._accepting = Accepting(listening, self._couple, lambda _: None)

    def close(self) -> None:
        """Listen no more, and remove the path; what is connected goes on."""
        if self._accepting is None:
            return
        self._accepting.close()
        self._accepting = None
        if not self._address.startswith("\0"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._address)

    def abort_relays(self) -> None:
        """End everything that is connected."""
        for relay in list(self._relays):
            relay.abort()

    def _couple(self, accepted: socket.socket, _: object) -> None:
        try:
            stream = self._stream_for(accepted)
        except (CannotOpen, ConnectionError):
            accepted.close()
            return
        relay = Relay(on_end=lambda: self._relays.discard(relay))
        self._relays.add(relay)
        relay.couple(SocketWire(accepted), stream)

    def _stream_for(self, accepted: socket.socket) -> MuxStream:
        """Raises ConnectionError for strangers: an abstract name is open to every user."""
        peer = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        if CREDENTIALS.unpack(peer)[0] != os.getpid():
            raise ConnectionRefusedError("not a process of ours")
        return self._session.open_stream()
