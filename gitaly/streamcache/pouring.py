"""A pipe emptied into a file by a thread, for as long as that is worth a hop to it. Blocks."""

import os
import time
from typing import Final

from gitaly.streamcache.store import Changed

MOST_BYTES: Final = 1 << 20  # of one splice: what a pipe holds
ENOUGH_BYTES: Final = 512 * 1024
PAUSE_SECONDS: Final = 0.002  # git writes some KiB at a time, and to wake up for each costs more
# Of a thread that others wait for, too. Readers hear no earlier of what has come.
TURN_SECONDS: Final = 0.008


class Pouring:
    """Moves what git writes into a file; one thread at a time runs it."""

    def __init__(self, source: int, file: int) -> None:
        """`source`: the end of a pipe, which does not block; it and the file stay the caller's."""
        self.at = 0  # bytes that the file has, also after an error
        self.is_dry = False  # nothing was left in the pipe
        self.is_over = False  # and nobody writes into it any more
        self._source = source
        self._file = file

    def run(self, end: int) -> None:
        """Until the file has so many bytes, or the pipe is empty, or some milliseconds are over.

        Raises OSError of the file, and Changed if somebody has cut it: what is written beyond
        its end would fill the gap with zeros.
        """
        until = time.monotonic() + TURN_SECONDS
        self.is_dry = False
        while self.at < end:
            moved = self._move(min(end - self.at, MOST_BYTES))
            if self.is_dry or self.is_over:
                return
            self.at += moved
            if time.monotonic() >= until:
                return
            if moved < ENOUGH_BYTES:
                time.sleep(PAUSE_SECONDS)

    def check(self) -> None:
        """Raises Changed unless the file has just what was moved into it."""
        found = os.fstat(self._file).st_size
        if found != self.at:
            raise Changed(f"it has {found} bytes, and {self.at} were written")

    def _move(self, most: int) -> int:
        self.check()
        try:
            moved = os.splice(
                self._source, self._file, most, offset_dst=self.at, flags=os.SPLICE_F_NONBLOCK
            )
        except BlockingIOError:
            self.is_dry = True
            return 0
        self.is_over = not moved
        return moved
