"""A pipe emptied into a file by a thread, as long as somebody fills it. Blocks."""

import os
import time
from typing import Final

MOST_BYTES: Final = 1 << 20  # of one splice; larger than a pipe
ENOUGH_BYTES: Final = 256 * 1024
PAUSE_SECONDS: Final = 0.002  # git writes some KiB at a time, and to wake up for each costs more


class Pouring:
    """Moves what git writes. One thread runs it at a time; any may ask how far it is.

    A thread and not the event loop, because a hop there and back for each piece costs more than
    to move the piece; and because a disk may be slow.
    """

    def __init__(self, source: int, file: int) -> None:
        """`source`: the end of a pipe, which does not block; it and the file stay the caller's."""
        self.at = 0  # bytes that the file has
        self.is_dry = False  # nothing was left in the pipe
        self.is_over = False  # and nobody writes into it any more
        self._source = source
        self._file = file

    def run(self, end: int) -> None:
        """Until the file has so many bytes, or the pipe is empty. Raises OSError of the file."""
        self.is_dry = False
        while self.at < end:
            try:
                moved = os.splice(
                    self._source,
                    self._file,
                    min(end - self.at, MOST_BYTES),
                    offset_dst=self.at,
                    flags=os.SPLICE_F_NONBLOCK,
                )
            except BlockingIOError:
                self.is_dry = True
                return
            if not moved:
                self.is_over = True
                return
            self.at += moved
            if moved < ENOUGH_BYTES:
                time.sleep(PAUSE_SECONDS)
