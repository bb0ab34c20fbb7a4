"""Under what an answer of pack-objects is kept: everything that can change it, and no more."""

import os
import re
from typing import Final

from gitaly.git import RepositoryPaths
from gitaly.packcache.command import PackCommand
from gitaly.streamcache import digest_of, repository_identity

# Of git rev-list --stdin, what upload-pack writes: wants, "--not", haves, and borders of a shallow
# client. Source: git, upload-pack.c (create_pack_file); builtin/pack-objects.c (get_object_list).
_OBJECT_ID: Final = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHALLOW: Final = re.compile(rb"--shallow [0-9a-f]{40}(?:[0-9a-f]{24})?")


def key_of(
    repository: RepositoryPaths, object_format: str, command: PackCommand, stdin: bytes
) -> str | None:
    """64 hex digits; None for what must be computed anew each time. Looks at files: blocks."""
    if not command.is_repeatable:
        return None
    parts = [
        repository_identity(repository, object_format),
        b"shallow-file" if command.has_shallow_file else b"",
        *(os.fsencode(flag) for flag in command.flags),
        normalized(stdin),
    ]
    return digest_of(parts)


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
