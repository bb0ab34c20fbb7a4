"""What tells a repository from any other that stood, or will stand, at the same place. Blocks."""

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from gitaly.git import RepositoryPaths, alternates_of

_MOST_ALTERNATES: Final = 32
_GIVEN_FILES: Final = ("config", "shallow", "info/grafts", "objects/info/alternates")


def digest_of(parts: Sequence[bytes]) -> str:
    """64 hex digits; other parts, or the same ones cut elsewhere, have others."""
    digest = sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def repository_identity(
    repository: RepositoryPaths, object_format: str, more_files: Sequence[str] = ()
) -> bytes:
    """A part of a key: where the repository and its objects are, and the state of the files that
    change what git does there. `more_files` are relative to the repository."""
    return digest_of([*_parts(repository, object_format, more_files)]).encode()


def _parts(
    repository: RepositoryPaths, object_format: str, more_files: Sequence[str]
) -> Iterator[bytes]:
    yield os.fsencode(repository.path)
    yield os.fsencode(repository.git_object_directory)
    borrowed = repository.git_alternate_object_directories
    yield b"%d" % len(borrowed)
    yield from (os.fsencode(path) for path in borrowed)
    yield object_format.encode()
    yield _identity(repository.path, with_time=False)
    for name in (*_GIVEN_FILES, *more_files):
        yield _identity(os.path.join(repository.path, name))
    objects = os.path.join(repository.path, "objects")
    yield from _alternates(objects, {objects})


def _alternates(objects: str, seen: set[str]) -> Iterator[bytes]:
    """The object directories from which a repository borrows, and from which those do."""
    try:
        directories = alternates_of(objects)
    except OSError:
        return
    for found in directories:
        if found in seen or len(seen) > _MOST_ALTERNATES:
            continue
        seen.add(found)
        yield os.fsencode(found)
        yield _identity(found, with_time=False)
        yield _identity(os.path.join(os.path.dirname(found), "config"))
        yield _identity(os.path.join(found, "info", "alternates"))
        yield from _alternates(found, seen)


def _identity(path: str, *, with_time: bool = True) -> bytes:
    """Of a file, or, without the time of its last change, of a directory; empty: not there."""
    try:
        status = os.stat(path)
    except OSError:
        return b""
    found = f"{status.st_dev}.{status.st_ino}"
    return (f"{found}.{status.st_ctime_ns}.{status.st_size}" if with_time else found).encode()
