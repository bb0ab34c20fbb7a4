"""One look at a storage: is it there, is it the one we started with, and can it be written to?"""

import errno
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from gitaly.storage.metadata import FILE_NAME, KEY

PREFIX: Final = ".gitaly-probe-"
_WRITTEN: Final = bytes(4096)  # enough to need a block of its own on every file system


class Problem(Enum):
    """What can be wrong with a storage; the values are labels of a metric."""

    GONE = "gone"  # nothing is at its path
    REPLACED = "replaced"  # something else is: the mount point without what was mounted there
    HANGS = "hangs"  # the file system does not answer
    DENIED = "permission_denied"
    READ_ONLY = "read_only"
    NO_SPACE = "no_space"
    NO_INODES = "no_inodes"
    BROKEN = "io_error"  # whatever else the kernel says

    @property
    def forbids_reading(self) -> bool:
        """Whether fetches fail too, not only what changes something."""
        return self in _NOT_READABLE

    def sentence(self, error: str) -> str:
        """For an operator who knows only which storage is meant. `error`: of the same look."""
        return _SENTENCES[self].format(error=error)


_NOT_READABLE: Final = frozenset(
    {Problem.GONE, Problem.REPLACED, Problem.HANGS, Problem.DENIED, Problem.BROKEN}
)
_SENTENCES: Final[Mapping[Problem, str]] = MappingProxyType(
    {
        Problem.GONE: "the directory is not there ({error}): is the disk mounted?",
        Problem.REPLACED: "another directory is in its place: {error}",
        Problem.HANGS: "{error}",
        Problem.DENIED: "the node may not work there ({error})",
        Problem.READ_ONLY: "the file system is mounted read-only",
        Problem.NO_SPACE: "the disk is full ({error})",
        Problem.NO_INODES: "the disk has no place for another file ({error})",
        Problem.BROKEN: "the disk fails ({error})",
    }
)
_BY_ERRNO: Final[Mapping[int, Problem]] = MappingProxyType(
    {
        errno.ENOENT: Problem.GONE,
        errno.ENOTDIR: Problem.GONE,
        errno.EACCES: Problem.DENIED,
        errno.EPERM: Problem.DENIED,
        errno.EROFS: Problem.READ_ONLY,
        errno.ENOSPC: Problem.NO_SPACE,
        errno.EDQUOT: Problem.NO_SPACE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Of the file system below a storage. No inodes at all: it does not count them."""

    size_bytes: int = 0
    available_bytes: int = 0  # to the node's user
    inodes: int = 0
    available_inodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one look has found."""

    problem: Problem | None = None
    error: str = ""  # in words, for the operator; may hold paths
    space: Space | None = None  # None: it could not be asked
    seconds: float = 0.0


def probe(path: str, filesystem_id: str) -> Probe:
    """Look at the storage at `path`. Blocks, on a file system that hangs for ever.

    `filesystem_id`: the identity that it has to have; empty: any.
    """
    started, space = time.monotonic(), None
    problem, text = None, ""
    try:
        os.stat(os.path.join(path, "."))  # a file is no storage
        space = _space(path)
        problem, text = _identity(path, filesystem_id)
        if problem is None:
            _write(path)
    except OSError as error:
        problem, text = _by_error(error, space), error.strerror or str(error)
    seconds = time.monotonic() - started
    return Probe(problem=problem, error=text, space=space, seconds=seconds)


def _by_error(error: OSError, space: Space | None) -> Problem:
    problem = _BY_ERRNO.get(error.errno or 0, Problem.BROKEN)
    if space is None:
        return problem
    if problem is Problem.GONE:  # the storage was there a moment ago: a file in it is meant
        return Problem.BROKEN
    no_inodes = space.inodes and not space.available_inodes
    return Problem.NO_INODES if problem is Problem.NO_SPACE and no_inodes else problem


def _space(path: str) -> Space:
    found = os.statvfs(path)
    free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    free_inodes = found.f_ffree if os.geteuid() == 0 else found.f_favail
    return Space(
        size_bytes=found.f_blocks * found.f_frsize,
        available_bytes=free * found.f_frsize,
        inodes=found.f_files,
        available_inodes=free_inodes,
    )


def _identity(path: str, filesystem_id: str) -> tuple[Problem | None, str]:
    """Raises OSError, but not for a file that is missing."""
    if not filesystem_id:
        return None, ""
    try:
        with open(os.path.join(path, FILE_NAME), "rb") as file:
            found = json.load(file)
    except FileNotFoundError:
        return Problem.REPLACED, f"{FILE_NAME} is missing: is the file system mounted?"
    except ValueError:
        return Problem.REPLACED, f"{FILE_NAME} is not what was written there"
    if not isinstance(found, dict) or found.get(KEY) != filesystem_id:
        return Problem.REPLACED, f"{FILE_NAME} is that of another storage"
    return None, ""


def _write(path: str) -> None:
    """Make a file that has no name, so that nothing is left if we die. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, dir=path)
        os.unlink(name)
    try:
        os.write(descriptor, _WRITTEN)
    finally:
        os.close(descriptor)
