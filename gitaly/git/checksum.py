"""The checksum over a repository's references, by which replicas are compared.

Each line of `git show-ref --head` that names a reference of the well-known kinds is hashed, and
the hashes are added by exclusive or, so that their order does not matter. Always SHA-1, also where
object ids are SHA-256. Source: Gitaly, internal/git/checksum.go.
"""

import re
from collections.abc import Iterable
from hashlib import sha1
from typing import Final

from gitaly.git.command import Git
from gitaly.git.paths import RepositoryPaths

ZERO: Final = "0" * 40
# Not anchored: `refs/remotes/origin/HEAD` counts, and so does it with everybody else's.
_COUNTED: Final = re.compile(
    rb"HEAD|(refs/(heads|tags|keep-around|merge-requests|environments|notes)/)"
)


def add(checksum: int, lines: Iterable[bytes]) -> int:
    """The checksum after these lines, `<object id> <name>` without their end; it begins at 0."""
    for line in lines:
        if _COUNTED.search(line):
            checksum ^= int.from_bytes(sha1(line, usedforsecurity=False).digest(), "big")
    return checksum


def text_of(checksum: int) -> str:
    """As clients get it: leading zero bytes vanish, so it may be shorter than 40 characters."""
    return checksum.to_bytes((checksum.bit_length() + 7) // 8, "big").hex()


async def references_checksum(git: Git, repository: RepositoryPaths) -> str | None:
    """40 zeros if no reference counts, or git cannot list them; None: this is no repository."""
    checksum = 0
    async with git.run("show-ref", repository=repository, flags=["--head"]) as child:
        assert child.stdout is not None
        async for lines in child.stdout.record_batches():
            checksum = add(checksum, lines)
        is_complete = bool(await child.wait())
    if is_complete and checksum:
        return text_of(checksum)
    asked = await git.output("rev-parse", repository=repository, flags=["--is-bare-repository"])
    is_repository = asked.exit and asked.stdout.strip().lower() == b"true"
    return ZERO if is_repository else None
