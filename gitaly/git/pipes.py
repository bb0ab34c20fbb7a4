"""Our ends of the pipes to a child: non-blocking descriptors, and what waits for them.

A pump that moves bulk data uses `fd` directly and the methods not at all; the two don't mix.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from gitaly.errors import Internal

PIECE_BYTES: Final = 65536
PAUSE_SECONDS: Final = 0.002  # for a slow reader: less than it needs to empty a large pipe
LARGE_PIPE_BYTES: Final = 1 << 20  # what an unprivileged process may ask for by default
RECORD_LIMIT_BYTES: Final = 16 << 20


class OutputTooLarge(Internal):
    """A child wrote more than its caller is ready to hold in memory."""


def enlarge_pipe(fd: int, size: int = LARGE_PIPE_BYTES) -> bool:
    """Make room for so many bytes in a pipe, if the kernel lets us; whether there is.

    It does not where pipe-user-pages-soft is used up: the pipe works as it is.
    """
    with suppress(OSError):
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < size:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
        return True
    return False


class _PipeEnd:
    """A descriptor that is closed exactly once, and whose waiter never waits for a closed one."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self.is_large = False  # it has been enlarged
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def fd(self) -> int:
        """The descriptor, for pumps. Raises ValueError once it is closed."""
        if self._fd < 0:
            raise ValueError("the pipe is closed")
        return self._fd

    @property
    def is_closed(self) -> bool:
        return self._fd < 0

    def enlarge(self, size: int = LARGE_PIPE_BYTES) -> None:
        """Make room for so many bytes in the pipe, if the kernel lets us."""
        self.is_large = enlarge_pipe(self.fd, size)

    def _forget(self) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Close our end; somebody who waits for it wakes. A second time: nothing."""
        if self._fd < 0:
            return
        self._forget()
        self._wake()
        fd, self._fd = self._fd, -1
        os.close(fd)


class PipeReader(_PipeEnd):
    """What a child writes."""

    def _forget(self) -> None:
        self._loop.remove_reader(self._fd)

    async def read(self, size: int = PIECE_BYTES) -> bytes:
        """What is there, at most `size` bytes; waits for the first. Empty: nobody writes any more.

        Raises ValueError if the pipe is closed, also while waiting.
        """
        while True:
            try:
                return os.read(self.fd, size)
            except BlockingIOError:
                await self.readable()

    async def readable(self) -> None:
        """Wait until there is something to read, or the end. One waiter at a time."""
        self._waiter = self._loop.create_future()
        self._loop.add_reader(self.fd, self._wake)
        try:
            await self._waiter
        finally:
            if not self.is_closed:
                self._forget()

    async def read_all(self, limit: int) -> bytes:
        """Everything up to the end. Raises OutputTooLarge above `limit` bytes."""
        collected = bytearray()
        while piece := await self.read():
            collected += piece
            if len(collected) > limit:
                raise OutputTooLarge(f"output of more than {limit} bytes")
        return bytes(collected)

    async def record_batches(
        self, separator: bytes = b"\n", limit: int = RECORD_LIMIT_BYTES
    ) -> AsyncIterator[list[bytes]]:
        r"""Records without their separator (b"\n" or b"\0"), as many at once as have arrived.

        A last record without separator counts. Nothing is read ahead while the caller works.
        Raises OutputTooLarge for a record of more than `limit` bytes.
        """
        pieces: list[bytes] = []  # of the record that is not complete; joined once, when it is
        size = 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if separator in piece:
                *records, rest = b"".join(pieces).split(separator)
                pieces, size = [rest], len(rest)
                yield records
            if size > limit:
                raise OutputTooLarge(f"record of more than {limit} bytes")
        if size:
            yield [b"".join(pieces)]

    async def records(
        self, separator: bytes = b"\n", limit: int = RECORD_LIMIT_BYTES
    ) -> AsyncIterator[bytes]:
        """`record_batches`, one by one."""
        async for batch in self.record_batches(separator, limit):
            for record in batch:
                yield record


class PipeWriter(_PipeEnd):
    """What a child reads."""

    def _forget(self) -> None:
        self._loop.remove_writer(self._fd)

    def write_now(self, data: bytes | memoryview) -> int:
        """How many bytes the pipe took without waiting. Raises BrokenPipeError, ValueError."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it, as fast as the child reads.

        Raises BrokenPipeError if the child reads no more, ValueError if the pipe is closed.
        """
        left = memoryview(data)
        while left:
            taken = self.write_now(left[: 16 * PIECE_BYTES])
            left = left[taken:]
            if left:
                await self.writable()
                if taken < PIECE_BYTES:  # a pipe calls itself writable when a page of it is free
                    await asyncio.sleep(PAUSE_SECONDS)

    def feed(self, data: bytes) -> None:
        """Write all of it in the background, as fast as the child reads, then close our end.

        A child that reads no more has its reason; its exit tells it.
        """
        left = memoryview(data)

        def more() -> None:
            nonlocal left
            try:
                left = left[self.write_now(left[: 16 * PIECE_BYTES]) :]
            except BrokenPipeError:
                left = left[:0]
            if not left:
                self.close()

        self._loop.add_writer(self.fd, more)
        more()

    async def writable(self) -> None:
        """Wait until the pipe takes something. One waiter at a time."""
        self._waiter = self._loop.create_future()
        self._loop.add_writer(self.fd, self._wake)
        try:
            await self._waiter
        finally:
            if not self.is_closed:
                self._forget()
