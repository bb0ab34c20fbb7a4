"""Open libgit2 handles of repositories: opening costs 60 µs and 18 KB, a look-up 5."""

import ctypes
import os
import time
from typing import Final

import pygit2
from cachetools import TTLCache
from pygit2._build import __version__
from pygit2.enums import RepositoryOpenFlag

from gitaly.errors import Internal
from gitaly.git.format import Formats
from gitaly.git.paths import RepositoryPaths

MAXIMUM: Final = 512  # 9 MB
AGE_SECONDS: Final = 600.0
OPEN_PACKS: Final = 256  # descriptors that libgit2 keeps, for all handles of this process together
CACHE_BYTES: Final = 64 << 20  # of objects, for all handles together
# What this version of pygit2 is asked for by name it keeps for ever: 80 bytes and more a look-up,
# gigabytes a day. Source: pygit2, Repository_lookup_reference takes a reference to the path-like
# name (PyOS_FSPath) and never gives it back. A test says when another version needs it no more.
_KEEPS_NAMES: Final = __version__ == "1.21.0"
# Without these libgit2 would go up the directories until it finds some repository.
_ONLY_HERE: Final = RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.NO_DOTGIT
Identity = tuple[int, ...]


class Undecided(Exception):
    """Libgit2 does not know what git would say."""


def lookup_reference(handle: pygit2.Repository, name: str) -> pygit2.Reference:
    """The reference of a whole name, which nothing remembers afterwards.

    Raises KeyError, pygit2.InvalidSpecError.
    """
    try:
        return handle.lookup_reference(name)
    finally:
        if _KEEPS_NAMES:
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(name))


class Handles:
    """Handles of the repositories used last; None for those that libgit2 must not answer for.

    It does not know SHA-256, reftables, partial clones, quarantines and unknown extensions, and
    declines repositories of another owner. That is remembered as long as the config is unchanged:
    the config's identity tells whether a path still holds the same repository. A repository that
    gets or loses an object pool is opened again: libgit2 reads the list of alternates once. So is
    one that gets or loses packs: libgit2 would hold the disk space of those that a repack removes.
    """

    def __init__(
        self, formats: Formats, *, maximum: int = MAXIMUM, age_seconds: float = AGE_SECONDS
    ) -> None:
        pygit2.settings.mwindow_file_limit = OPEN_PACKS  # without, one for each pack ever read
        pygit2.settings.cache_max_size(CACHE_BYTES)
        # Git does not hash again what it reads from a pack, either.
        pygit2.settings.enable_strict_hash_verification(False)
        self._formats = formats
        self._open: TTLCache[str, tuple[Identity, pygit2.Repository | None]] = TTLCache(
            maximum, age_seconds, timer=time.monotonic
        )

    def of(self, repository: RepositoryPaths) -> pygit2.Repository | None:
        """A handle for use on this thread, at once; 5 µs if it is open."""
        if repository.git_object_directory or repository.git_alternate_object_directories:
            return None
        path = repository.path
        try:
            status = os.stat(f"{path}/config")
        except OSError:
            return None
        identity: Identity = (
            *(status.st_dev, status.st_ino, status.st_ctime_ns),
            _changed(f"{path}/objects/info/alternates"),
            _changed(f"{path}/objects/pack"),
        )
        known = self._open.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        self.forget(path)
        handle = self._opened(path)
        self._open[path] = (identity, handle)
        return handle

    def forget(self, path: str) -> None:
        """Close the handle of a repository that goes away: it holds the disk space of its packs."""
        _, handle = self._open.pop(path, (None, None))
        if handle is not None:
            handle.free()  # or the garbage collector does, some time: handles refer to themselves

    def sweep(self) -> None:
        """Close what is too old; happens anyway when another one is opened."""
        self._open.expire()

    def clear(self) -> None:
        """Close all of them."""
        for path in list(self._open):
            self.forget(path)

    def _opened(self, path: str) -> pygit2.Repository | None:
        try:
            form = self._formats.of(path)
        except Internal:
            return None
        if form.object_format != "sha1" or form.reference_backend != "files":
            return None
        if form.is_partial_clone:
            return None
        try:
            return pygit2.Repository(path, _ONLY_HERE)
        except (pygit2.GitError, OSError, ValueError):
            return None


def _changed(path: str) -> int:
    """When a file or the list of a directory changed last, in nanoseconds; 0: it is not there."""
    try:
        return os.stat(path).st_ctime_ns
    except OSError:
        return 0
