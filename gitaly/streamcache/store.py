"""The files of a cache, and the directory that several processes may share. Everything blocks.

    <dir>/<2 hex>/<20 hex>-<number>     an entry; the 20 digits are this process's
    <dir>/<20 hex>.lock                 locked (flock) as long as the process lives

The layout is the reference's, which has no locks: what no lock protects is removed when it is old.
Source: Gitaly, internal/streamcache/filestore.go.
"""

import fcntl
import itertools
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from gitaly.streamcache.entry import Entry, FileIdentity

FILE_NAME: Final = re.compile(r"([0-9a-f]{20})-[0-9]+")
LOCK_NAME: Final = re.compile(r"([0-9a-f]{20})\.lock")
DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o400
MOST_RESERVED_BYTES: Final = 1 << 30  # of free space, unless the operator wants more
RESERVED_SHARE: Final = 20  # or one part in so many of the file system, if that is less
ATTEMPTS: Final = 3


class Changed(OSError):
    """A file is not what was written to it."""


class Store:
    """The directory, for one process."""

    def __init__(self, directory: str, *, min_free_bytes: int = 0) -> None:
        """`min_free_bytes`: what others shall find free; 0: a twentieth, at most 1 GiB."""
        self.directory = directory
        self.min_free_bytes = min_free_bytes
        self._id = secrets.token_hex(10)
        self._numbers = itertools.count(1)
        self._lock: int | None = None

    def open(self) -> None:
        """Begin to use the directory. Raises OSError."""
        os.makedirs(self.directory, DIRECTORY_MODE, exist_ok=True)
        self._take_lock()

    def close(self) -> None:
        """Others may sweep what is left."""
        if self._lock is not None:
            with suppress(OSError):
                os.unlink(self._lock_path(self._id))
            os.close(self._lock)
            self._lock = None

    def create(self) -> tuple[str, int]:
        """A new file: its path, and a descriptor that writes to it. Raises OSError."""
        number = next(self._numbers)
        directory = os.path.join(self.directory, f"{number & 0xFF:02x}")
        path = os.path.join(directory, f"{self._id}-{number}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for attempt in range(ATTEMPTS):
            try:
                return path, os.open(path, flags, FILE_MODE)
            except FileNotFoundError:  # the first file of its directory, or somebody cleaned up
                if attempt == ATTEMPTS - 1:
                    raise
                os.makedirs(directory, DIRECTORY_MODE, exist_ok=True)
                self._keep_lock()
        raise AssertionError

    def open_growing(self, path: str) -> int:
        """A descriptor for a reader of a file that is being written. Raises OSError."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def open_complete(self, entry: Entry) -> int:
        """A descriptor for a reader of a whole file. Raises OSError, and Changed if it is not
        the file that was written, to the byte."""
        descriptor = self.open_growing(entry.path)
        try:
            if identity_of(descriptor) != entry.identity:
                raise Changed("the file was changed, truncated or replaced")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def has_space(self) -> bool:
        """Whether so much is free that files may grow. Raises OSError."""
        try:
            found = os.statvfs(self.directory)
        except FileNotFoundError:
            return True  # it is made anew when the next file is
        total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        floor = self.min_free_bytes or min(MOST_RESERVED_BYTES, total // RESERVED_SHARE)
        return free > floor

    def remove(self, path: str) -> None:
        """Remove a file, which may be gone already. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(path)

    def sweep(self, max_age_seconds: float, now: float) -> int:
        """Remove what processes have left that are gone, and return the number of files.

        `now`: seconds since 1970. Files of a process that lives are not touched. Raises OSError
        if the directory cannot be read.
        """
        removed = 0
        living: dict[str, bool] = {self._id: True}
        held: list[int] = []
        try:
            for owner in self._owners():
                if owner not in living:
                    lock = self._lock_of_dead(owner)
                    living[owner] = lock is None
                    if lock is not None:
                        held.append(lock)
            for path, owner in self._files():
                known = owner in living  # else it is of a process that has no lock
                gone = not living[owner] if known else _age(path, now) > max_age_seconds
                if gone:
                    with suppress(OSError):
                        os.unlink(path)
                        removed += 1
            for owner, lives in living.items():
                if not lives:
                    with suppress(OSError):
                        os.unlink(self._lock_path(owner))
        finally:
            for lock in held:
                os.close(lock)
        return removed

    def _owners(self) -> Iterator[str]:
        for name in os.listdir(self.directory):
            found = LOCK_NAME.fullmatch(name)
            if found is not None:
                yield found[1]

    def _files(self) -> Iterator[tuple[str, str]]:
        """Paths of entries, and whose they are."""
        for number in range(256):
            directory = os.path.join(self.directory, f"{number:02x}")
            try:
                names = os.listdir(directory)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for name in names:
                found = FILE_NAME.fullmatch(name)
                if found is not None:
                    yield os.path.join(directory, name), found[1]

    def _lock_path(self, owner: str) -> str:
        return os.path.join(self.directory, f"{owner}.lock")

    def _take_lock(self) -> None:
        lock = os.open(self._lock_path(self._id), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if self._lock is not None:
            os.close(self._lock)
        self._lock = lock
        # Somebody may have swept it in the moment between its making and its locking.
        if not os.fstat(lock).st_nlink:
            self._take_lock()

    def _keep_lock(self) -> None:
        if self._lock is None or not os.path.exists(self._lock_path(self._id)):
            self._take_lock()

    def _lock_of_dead(self, owner: str) -> int | None:
        """The lock of a process that does not hold it any more; None: it lives."""
        try:
            lock = os.open(self._lock_path(owner), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return lock


def identity_of(descriptor: int) -> FileIdentity:
    """What a file is now. Raises OSError."""
    found = os.fstat(descriptor)
    return FileIdentity(
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    )


def is_still(descriptor: int, identity: FileIdentity) -> bool:
    """Whether an open file is what it was; that it has lost its name since does not count."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return False
    same = (found.st_size, found.st_mtime_ns) == (identity.size, identity.modified_ns)
    return same and (not found.st_nlink or found.st_ctime_ns == identity.changed_ns)


def _age(path: str, now: float) -> float:
    """Seconds since a file was written; 0 for one that is gone or comes from the future."""
    try:
        return now - os.stat(path, follow_symlinks=False).st_mtime
    except OSError:
        return 0.0
