"""Byte streams without asyncio's stream objects: callbacks in, buffers out, nothing copied twice.

A `Wire` is what a relay or a yamux session writes to; a `WireUser` is who is told what arrives.
A wire has no half-close: none of the protocols on it needs one, and each would need time limits.
Sockets are driven directly: asyncio's transports copy what they queue and cut what they read.
TLS needs them, so there is one wire of each kind.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gitaly.transport.linger import Linger

Buffer = bytes | bytearray | memoryview

READ_BYTES: Final = 256 * 1024
FEW_BYTES: Final = 16 * 1024
HIGH_WATER_BYTES: Final = 256 * 1024  # more than this waiting: whoever produces should stop
MOST_BUFFERS: Final = 256  # of one sendmsg; the kernel's limit is 1024


class WireUser(Protocol):
    """Who reads a wire. All methods are called by the event loop, none while a wire is called."""

    def bytes_received(self, data: memoryview) -> None:
        """Take some bytes; the view is valid only during this call."""

    def eof_received(self) -> None:
        """The other side sends nothing any more; finish or abort."""

    def writable(self) -> None:
        """What was waiting is gone, after it had passed the high-water mark."""

    def wire_lost(self, error: Exception | None) -> None:
        """The wire is gone; called exactly once, and nothing after it. None: we ended it."""


class Wire(Protocol):
    """Who writes to a wire, and holds back what comes from it."""

    user: WireUser

    @property
    def backlog(self) -> int:
        """Bytes that are written here and not yet on their way."""

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Send in order; what cannot go at once is copied and waits. Ignored once lost."""

    def pause_reading(self) -> None:
        """Stop calling `bytes_received`, so that the other side feels it."""

    def resume_reading(self) -> None:
        """Go on calling `bytes_received`."""

    def finish(self) -> None:
        """Send what waits, then end the wire; what still comes is dropped."""

    def abort(self) -> None:
        """Drop everything now."""


class Silent:
    """The user of a wire that nobody listens to yet."""

    def bytes_received(self, data: memoryview) -> None:
        """Nobody is interested."""

    def eof_received(self) -> None:
        """Nobody is interested."""

    def writable(self) -> None:
        """Nobody is interested."""

    def wire_lost(self, error: Exception | None) -> None:
        """Nobody is interested."""


class SocketWire:
    """A connected, non-blocking stream socket. It reads nothing until `resume_reading`."""

    def __init__(
        self,
        connected: socket.socket,
        user: WireUser | None = None,
        on_closed: Callable[[], None] = lambda: None,  # the descriptor is given back
    ) -> None:
        self.user: WireUser = user or Silent()
        self._socket = connected
        self._fd = connected.fileno()
        self._loop = asyncio.get_running_loop()
        self._on_closed = on_closed
        self._linger = Linger(self._fd, lambda: self._backlog, lambda: self._lose(None))
        self._waiting: deque[memoryview] = deque()
        self._backlog = 0
        self._was_high = False
        self._read_bytes = FEW_BYTES
        self._reading = False
        self._eof = False
        self._finishing = False
        self._lost = False

    @property
    def backlog(self) -> int:
        """Bytes that wait for the kernel."""
        return self._backlog

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Hand buffers to the kernel; copy and queue what it does not take."""
        if self._lost or self._finishing or not buffers:
            return
        if self._waiting:
            self._queue(buffers)
            return
        try:
            if len(buffers) == 1:
                total = len(buffers[0])
                sent = self._socket.send(buffers[0])
            else:
                total = sum(map(len, buffers))
                sent = self._socket.sendmsg(buffers[:MOST_BUFFERS])
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if sent < total:
            self._queue(_rest(buffers, sent))
            self._loop.add_writer(self._fd, self._send_waiting)

    def _queue(self, buffers: Sequence[Buffer]) -> None:
        for buffer in buffers:
            if len(buffer):  # an empty one would never be sent, and waited for without end
                self._waiting.append(memoryview(bytes(buffer)))
                self._backlog += len(buffer)
        self._was_high = self._was_high or self._backlog > HIGH_WATER_BYTES

    def _send_waiting(self) -> None:
        try:
            batch = [self._waiting[n] for n in range(min(len(self._waiting), MOST_BUFFERS))]
            sent = self._socket.sendmsg(batch)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        self._backlog -= sent
        while sent:
            first = self._waiting[0]
            if sent < len(first):
                self._waiting[0] = first[sent:]
                break
            sent -= len(first)
            self._waiting.popleft()
        if self._waiting:
            return
        self._loop.remove_writer(self._fd)
        if self._finishing:
            self._shut_down()
        elif self._was_high:
            self._was_high = False
            self._tell(self.user.writable)

    def pause_reading(self) -> None:
        """Leave what comes in the kernel's buffer."""
        if self._reading and not self._finishing:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Take what comes."""
        if not (self._reading or self._eof or self._lost):
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(self._read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        # Room for much costs much, even if little comes: so much only where the last read was full.
        self._read_bytes = READ_BYTES if len(data) >= FEW_BYTES else FEW_BYTES
        if self._finishing:
            if not data:
                self._lose(None)
        elif data:
            self._tell(self.user.bytes_received, memoryview(data))
        else:
            self.pause_reading()
            self._eof = True
            self._tell(self.user.eof_received)

    def _tell(self, what: Callable[..., None], *arguments: memoryview) -> None:
        """A user that fails loses its wire, half of a message lost; the loop reports the error."""
        try:
            what(*arguments)
        except Exception:
            self.abort()
            raise

    def finish(self) -> None:
        """Send what waits, and close once the peer has it or has closed itself."""
        if self._lost or self._finishing:
            return
        self._finishing = True
        self.resume_reading()  # unread bytes of the peer would make closing a reset
        if not self._waiting:
            self._shut_down()
        if not self._lost:
            self._linger.check()

    def _shut_down(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._lose(error)

    def abort(self) -> None:
        """Close the socket; the peer sees a reset if it was still sending."""
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._linger.cancel()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._waiting.clear()
        self._backlog = 0
        self._socket.close()
        self._on_closed()
        # Later: whoever wrote, finished or aborted is not prepared to be told in the middle of it.
        self._loop.call_soon(lambda: self.user.wire_lost(error))


def _rest(buffers: Sequence[Buffer], sent: int) -> list[memoryview]:
    """What is left of some buffers after their first bytes."""
    rest = []
    for buffer in buffers:
        view = memoryview(buffer)
        if sent < len(view):
            rest.append(view[sent:])
        sent = max(0, sent - len(view))
    return rest
