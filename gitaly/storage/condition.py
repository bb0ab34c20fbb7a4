"""What is wrong with a storage's disk, if anything is; also when the disk does not answer."""

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gitaly.storage.file_systems import file_system_name
from gitaly.storage.metadata import FILE_NAME

FULL_BYTES: Final = 64 << 20  # with less than this hardly a push fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One look at a storage. `state`: "ok" or a word for the problem, which is a sentence."""

    state: str = "ok"
    problem: str = ""
    file_system: str = ""
    free_bytes: int = 0  # for users other than root
    total_bytes: int = 0
    free_inodes: int = 0
    total_inodes: int = 0


def condition(path: str) -> Condition:
    """Look at the storage at `path`. Blocks, for ever if its disk does."""
    try:
        status = os.statvfs(path)
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        return _unusable(error)
    state, problem = _judged(path, status)
    return Condition(
        state=state,
        problem=problem,
        file_system=file_system_name(path),
        free_bytes=status.f_bavail * status.f_frsize,
        total_bytes=status.f_blocks * status.f_frsize,
        free_inodes=status.f_favail,
        total_inodes=status.f_files,
    )


def _unusable(error: OSError) -> Condition:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Condition(state="gone", problem="the directory is not there: is the disk mounted?")
    return Condition(state="unreadable", problem=f"cannot be read: {error.strerror}")


def _judged(path: str, status: os.statvfs_result) -> tuple[str, str]:
    if not os.path.exists(os.path.join(path, FILE_NAME)):
        return "other disk", (
            f"{FILE_NAME} is not there, which the node wrote at its start: is the disk mounted?"
        )
    if status.f_flag & os.ST_RDONLY:
        return "read-only", "the file system is mounted read-only"
    if not os.access(path, os.W_OK | os.X_OK):
        return "read-only", "the node may not write there"
    free = status.f_bavail * status.f_frsize
    if free < FULL_BYTES:
        return "full", f"the disk is full: {free >> 20} MiB are left"
    if status.f_files and not status.f_favail:
        return "full", "the disk is full: no inode is left"
    return "ok", ""


class Watchman:
    """Looks at one storage from a thread of its own, and does not wait for a disk that hangs."""

    def __init__(self, path: str, look: Callable[[str], Condition] = condition) -> None:
        self._path = path
        self._condition = look
        self._lock = threading.Lock()
        self._look: _Look | None = None

    def start(self) -> None:
        """Begin to look, unless the last look has not ended yet. For any thread."""
        with self._lock:
            if self._look is None or self._look.found is not None:
                self._look = _Look(self._path, self._condition)

    def found(self, patience_seconds: float) -> Condition:
        """What there is to see; waits so long at most. Call `start` before."""
        look = self._look
        assert look is not None
        look.is_over.wait(max(0.0, patience_seconds))
        if look.found is not None:
            return look.found
        age = time.monotonic() - look.since
        return Condition(state="hangs", problem=f"the disk has not answered for {age:.1f} seconds")


class _Look:
    def __init__(self, path: str, look: Callable[[str], Condition]) -> None:
        self.since = time.monotonic()
        self.found: Condition | None = None
        self.is_over = threading.Event()
        self._path = path
        self._condition = look
        # A daemon: a disk that never answers must not keep the node from ending.
        threading.Thread(target=self._run, name="storage-watch", daemon=True).start()

    def _run(self) -> None:
        self.found = self._condition(self._path)
        self.is_over.set()
