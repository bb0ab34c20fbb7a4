"""Under what an answer of pack-objects is kept: everything that can change it, and no more."""

import os
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from gitaly.git import RepositoryPaths, alternates_of
from gitaly.packcache.command import PackCommand

# Of git rev-list --stdin, what upload-pack writes: wants, "--not", haves, and borders of a shallow
# client. Source: git, upload-pack.c (create_pack_file); builtin/pack-objects.c (get_object_list).
_OBJECT_ID: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHALLOW: Final = re.compile(rb"--shallow [0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_ALTERNATES: Final = 32
_GIVEN_FILES: Final = ("config", "shallow", "info/grafts", "objects/info/alternates")


def key_of(
    repository: RepositoryPaths, object_format: str, command: PackCommand, stdin: bytes
) -> str | None:
    """64 hex digits; None for what must be computed anew each time. Looks at files: blocks."""
    if not command.is_repeatable:
        return None
    digest = sha256()
    parts: list[bytes] = [
        os.fsencode(repository.path),
        os.fsencode(repository.git_object_directory),
        *(os.fsencode(path) for path in repository.git_alternate_object_directories),
        object_format.encode(),
        b"shallow-file" if command.has_shallow_file else b"",
        *(os.fsencode(flag) for flag in command.flags),
        *_identities(repository.path),
        normalized(stdin),
    ]
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def normalized(stdin: bytes) -> bytes:
    """The input in a form of its own for all that mean the same.

    Order and repetition don't count among wants, haves, and borders. What is not such a list stays
    as it is.
    """
    lines = stdin.split(b"\n")
    while lines and not lines[-1]:
        lines.pop()
    shallows, wants, haves = set[bytes](), set[bytes](), set[bytes]()
    ids = wants
    for line in lines:
        if _OBJECT_ID.fullmatch(line):
            ids.add(line)
        elif line == b"--not" and ids is wants:
            ids = haves
        elif _SHALLOW.fullmatch(line):
            shallows.add(line)
        else:
            return b"as it is:" + stdin
    parts = (*sorted(shallows), *sorted(wants), b"--not", *sorted(haves))
    return b"\n".join(parts)


def _identities(path: str) -> Iterator[bytes]:
    """What tells a repository from another one that stood, or will stand, at the same place."""
    yield _identity(path, with_time=False)
    for name in _GIVEN_FILES:
        yield _identity(os.path.join(path, name))
    seen = {os.path.join(path, "objects")}
    yield from _alternates(os.path.join(path, "objects"), seen)


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
