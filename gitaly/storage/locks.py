"""The lock of a repository's path: who holds `<path>.lock` may create or remove what is there.

As everywhere in git the file itself is the lock, for other programs, too. It also carries flock(2)
and a mark, so that one which a crash has left is known for dead and taken over. A lock file without
the mark is somebody else's, and respected for ever. Source: Gitaly, internal/safe.
"""

import fcntl
import os
from contextlib import suppress
from typing import Final

from gitaly.errors import Internal

_MARK: Final = b"gitaly: held while this file is flocked\n"


class AlreadyLocked(Internal):
    """Somebody else creates or removes it at the moment."""

    def __init__(self) -> None:
        super().__init__("file already locked")


class RepositoryLock:
    """The lock of a path whose parent exists. Taking and releasing block shortly."""

    def __init__(self, path: str) -> None:
        self._lock_path = path + ".lock"
        self._fd: int | None = None

    def take(self) -> None:
        """Hold it from now on; never waits. Raises AlreadyLocked, OSError."""
        fd = _made(self._lock_path)
        self._fd = _taken_over(self._lock_path) if fd is None else fd

    def release(self) -> None:
        """Hold it no more; nothing, if it was not taken."""
        if self._fd is None:
            return
        with suppress(FileNotFoundError):  # an operator was faster
            os.unlink(self._lock_path)
        os.close(self._fd)
        self._fd = None


def _made(lock_path: str) -> int | None:
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # somebody may hold it while he looks for the mark
        os.write(fd, _MARK)
    except OSError:
        os.unlink(lock_path)
        os.close(fd)
        raise
    return fd


def _taken_over(lock_path: str) -> int:
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise AlreadyLocked from None  # it was, a moment ago
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_dead = os.read(fd, len(_MARK) + 1) == _MARK
        is_there = os.path.samestat(os.fstat(fd), os.stat(lock_path))
        if is_dead and is_there:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    raise AlreadyLocked
