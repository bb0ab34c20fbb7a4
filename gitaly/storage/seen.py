"""Remembers what was found to be a repository, for as long as its directory does not change."""

import os
import time
from typing import Final

from cachetools import TTLCache

MAXIMUM: Final = 10_000
# Bounds what a directory's own state cannot tell: that a link above it was changed to lead out of
# the storage, or that an entry which is a link leads nowhere any more.
AGE_SECONDS: Final = 10.0
# A change within the same tick of the file system's clock as the check would not be seen.
SETTLED_NANOSECONDS: Final = 2_000_000_000

State = tuple[int, int, int, int]


class Seen:
    """Saves six of seven system calls of a check: entries can't come or go without a trace in the
    times of their directory."""

    def __init__(self, settled_nanoseconds: int = SETTLED_NANOSECONDS) -> None:
        """`settled_nanoseconds`: how old the last change must be to be remembered."""
        self._settled_nanoseconds = settled_nanoseconds
        self._states: TTLCache[str, State] = TTLCache(MAXIMUM, AGE_SECONDS, timer=time.monotonic)

    def is_unchanged(self, path: str) -> bool:
        """Whether `path` is the directory that was checked, and nothing in it came or went."""
        known = self._states.get(path)
        if known is None:
            return False
        try:
            return _state(os.stat(path)) == known
        except OSError:
            return False

    def remember(self, path: str, fd: int) -> None:
        """The directory that `fd` names was just checked, and was all right."""
        status = os.fstat(fd)
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        if time.time_ns() - changed > self._settled_nanoseconds:
            self._states[path] = _state(status)


def _state(status: os.stat_result) -> State:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
