"""A wire for coroutines: read, write and wait. For sidechannels; relays need no coroutine."""

import asyncio
from collections import deque
from collections.abc import Sequence

from gitaly.transport.mux import MuxStream
from gitaly.transport.wire import HIGH_WATER_BYTES, Buffer, Silent


class Channel:
    """A yamux stream that coroutines use: one of them reads, any of them write."""

    def __init__(self, stream: MuxStream) -> None:
        self._stream = stream
        self._received: deque[bytes] = deque()
        self._unread_bytes = 0
        self.received_bytes = 0  # since the beginning
        self._eof = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        stream.user = self
        stream.resume_reading()

    @property
    def sent_bytes(self) -> int:
        """Since the beginning; some of them may still wait."""
        return self._stream.written_bytes

    async def read(self) -> bytes:
        """Some bytes; b"" at the end. Raises ConnectionError if the stream breaks off."""
        while not self._received:
            if self._eof:
                return b""
            if self._error is not None:
                raise self._error
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._received.popleft()
        self._unread_bytes -= len(data)
        if self._unread_bytes < HIGH_WATER_BYTES // 2:
            self._stream.resume_reading()
        return data

    async def room(self, at_least: int = 1) -> int:
        """How many bytes the peer takes now; waits until it is enough.

        Raises ConnectionError if the stream breaks off.
        """
        while True:
            if self._error is not None:
                raise self._error
            room = self._stream.sendable
            if room >= at_least:
                return room
            waiter = asyncio.get_running_loop().create_future()
            self._writers.append(waiter)
            try:
                await waiter
            finally:
                self._writers.remove(waiter)

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Send; more than `room` bytes are copied and wait. Raises ConnectionError."""
        if self._error is not None:
            raise self._error
        self._stream.write(buffers)

    def finish(self) -> None:
        """Say that nothing follows, and listen no more: what still comes is dropped."""
        if self._error is None:
            self._error = ConnectionResetError("stream closed")
            self._stream.user = Silent()
            self._stream.finish()
            _wake(self._reader)
            self._wake_writers()

    def abort(self) -> None:
        """Break the stream off."""
        self._stream.abort()

    # The stream's user

    def bytes_received(self, data: memoryview) -> None:
        """Keep the bytes for the reader; hold the peer back when it does not come."""
        self._received.append(bytes(data))
        self.received_bytes += len(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= HIGH_WATER_BYTES:
            self._stream.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> None:
        """The peer has said its last."""
        self._eof = True
        _wake(self._reader)

    def writable(self) -> None:
        """There may be room."""
        self._wake_writers()

    def wire_lost(self, error: Exception | None) -> None:
        """The stream is over."""
        self._error = error or ConnectionResetError("stream closed")
        _wake(self._reader)
        self._wake_writers()

    def _wake_writers(self) -> None:
        for waiter in self._writers:
            _wake(waiter)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
