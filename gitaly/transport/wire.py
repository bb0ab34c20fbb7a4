"""Byte streams without asyncio's stream objects: callbacks in, buffers out, nothing copied twice.

A `Wire` is what a relay or a yamux session writes to; a `WireUser` is who is told what arrives.
Sockets are driven directly: asyncio's transports copy what they queue and cut what they read.
TLS needs them, so there is one wire of each kind.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

Buffer = bytes | bytearray | memoryview

READ_BYTES: Final = 256 * 1024
HIGH_WATER_BYTES: Final = 256 * 1024  # more than this waiting: whoever produces should stop
MOST_BUFFERS: Final = 256  # of one sendmsg; the kernel's limit is 1024


class WireUser(Protocol):
    """Who reads a wire. All methods are called from the event loop."""

    def bytes_received(self, data: memoryview) -> None:
        """Take some bytes; the view is valid only during this call."""

    def eof_received(self) -> None:
        """The other side sends nothing any more; it may still read."""

    def writable(self) -> None:
        """What was waiting is gone, after it had passed the high-water mark."""

    def wire_lost(self, error: Exception | None) -> None:
        """The wire is gone; called exactly once, and nothing after it."""


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
        """Send what waits, then tell the other side that nothing follows."""

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

    def __init__(self, connected: socket.socket, user: WireUser | None = None) -> None:
        self.user: WireUser = user or Silent()
        self._socket = connected
        self._fd = connected.fileno()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[memoryview] = deque()
        self._backlog = 0
        self._was_high = False
        self._reading = False
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
        total = sum(map(len, buffers))
        try:
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
            copy = memoryview(bytes(buffer))
            self._waiting.append(copy)
            self._backlog += len(copy)
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
            self.user.writable()

    def pause_reading(self) -> None:
        """Leave what comes in the kernel's buffer."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Take what comes."""
        if not self._reading and not self._lost:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if data:
            self.user.bytes_received(memoryview(data))
            return
        self.pause_reading()
        self.user.eof_received()

    def finish(self) -> None:
        """Half-close once everything is sent."""
        if self._lost or self._finishing:
            return
        self._finishing = True
        if not self._waiting:
            self._shut_down()

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
        self.pause_reading()
        self._loop.remove_writer(self._fd)
        self._waiting.clear()
        self._backlog = 0
        self._socket.close()
        self.user.wire_lost(error)


def _rest(buffers: Sequence[Buffer], sent: int) -> list[memoryview]:
    """What is left of some buffers after their first bytes."""
    rest = []
    for buffer in buffers:
        view = memoryview(buffer)
        if sent < len(view):
            rest.append(view[sent:])
        sent = max(0, sent - len(view))
    return rest


class TransportWire(asyncio.Protocol):
    """A wire over an asyncio transport: TLS."""

    def __init__(self, user: WireUser | None = None) -> None:
        self.user: WireUser = user or Silent()
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._was_high = False

    @property
    def backlog(self) -> int:
        """Bytes in the transport's buffer."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=0)
        self._transport = transport

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Encrypt and send."""
        if self._transport is not None and not self._lost:
            self._transport.writelines(buffers)

    def pause_reading(self) -> None:
        """Leave what comes to the transport, which leaves it to the kernel."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what comes."""
        if self._transport is not None and not self._lost and not self._transport.is_reading():
            self._transport.resume_reading()

    def finish(self) -> None:
        """Send what waits and close: TLS has no half-close that clients agree on."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.user.bytes_received(memoryview(data))

    def eof_received(self) -> bool:
        self.user.eof_received()
        return False

    def pause_writing(self) -> None:
        self._was_high = True

    def resume_writing(self) -> None:
        if self._was_high:
            self._was_high = False
            self.user.writable()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self.user.wire_lost(error)
