"""A reader of the cache whose bytes somebody fetches, a message at a time."""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from gitaly.errors import Cancelled
from gitaly.git import PipeReader
from gitaly.git.transfer import ENOUGH_BYTES, MESSAGE_BYTES, PAUSE_SECONDS
from gitaly.streamcache import Blocking

MESSAGES_AT_ONCE: Final = 2  # read by one hop to a thread, while as many wait to be sent


class Moved(NamedTuple):
    """It satisfies `streamcache.Report`."""

    moved: int
    error: int = 0


class Handover:
    """One side gives, and waits until the other one has taken. A `streamcache.Reader`."""

    def __init__(self, blocking: Blocking) -> None:
        self.gone = asyncio.Event()
        self._blocking = blocking
        self._file = -1
        self._pieces = deque[bytes]()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._is_over = False

    async def next(self) -> bytes:
        """The next piece, at most MESSAGE_BYTES; empty: that was all."""
        while not self._pieces and not self._is_over:
            self._news.clear()
            await self._news.wait()
        piece = self._pieces.popleft() if self._pieces else b""
        if not self._pieces:
            self._room.set()
        return piece

    def leave(self) -> None:
        """Nobody takes anything any more."""
        self.gone.set()
        self._pieces.clear()
        self._room.set()

    def end(self) -> None:
        """Nobody gives anything any more."""
        self._is_over = True
        self._news.set()

    async def use_file(self, descriptor: int) -> None:
        self._file = descriptor

    async def copy(self, start: int, end: int) -> Moved:
        at = start
        while at < end:
            try:
                pieces = await self._blocking.run(_read, self._file, at, end)
            except OSError as error:
                return Moved(at - start, error.errno or 5)
            if not pieces:
                break  # the file is shorter than it should be
            await self._give(pieces)
            at += sum(map(len, pieces))
        return Moved(at - start)

    async def take(self, source: PipeReader) -> int:
        piece = await source.read(MESSAGE_BYTES)
        if piece:
            await self._give([piece])
            if len(piece) < ENOUGH_BYTES:  # git writes a little at a time
                await asyncio.sleep(PAUSE_SECONDS)
        return len(piece)

    async def write_stdout(self, data: bytes) -> Moved:
        starts = range(0, len(data), MESSAGE_BYTES)
        await self._give([data[start : start + MESSAGE_BYTES] for start in starts])
        return Moved(len(data))

    async def write_stderr(self, data: bytes) -> None:
        """A client of GetArchive does not hear what git says."""

    async def _give(self, pieces: Sequence[bytes]) -> None:
        while self._pieces and not self.gone.is_set():
            self._room.clear()
            await self._room.wait()
        if self.gone.is_set():
            raise Cancelled("the reader is gone")
        self._pieces.extend(pieces)
        self._news.set()


def _read(file: int, start: int, end: int) -> list[bytes]:
    """Pieces of messages' size. Raises OSError."""
    found: list[bytes] = []
    while start < end and len(found) < MESSAGES_AT_ONCE:
        piece = os.pread(file, min(MESSAGE_BYTES, end - start), start)
        if not piece:
            break
        found.append(piece)
        start += len(piece)
    return found
