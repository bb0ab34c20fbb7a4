"""Whether git finds fault with the objects of a repository."""

from typing import Final

from gitaly.git.command import Git
from gitaly.git.paths import RepositoryPaths
from gitaly.git.stdio import STDOUT

# Clients take messages of 4 MiB; who has more faults than that has seen enough of them.
LIMIT_BYTES: Final = 3 << 20


async def fsck(git: Git, repository: RepositoryPaths, *, own_objects_only: bool) -> bytes:
    """What `git fsck` says of a damaged repository, the beginning at least; empty: all is well.

    `own_objects_only`: not those of alternates.
    """
    # Dangling objects are nothing to complain about: every repository here has some.
    flags = ["--no-progress", "--no-dangling", *(["--no-full"] if own_objects_only else [])]
    said = bytearray()
    left_out = 0
    async with git.run("fsck", repository=repository, flags=flags, stderr=STDOUT) as child:
        assert child.stdout is not None
        while piece := await child.stdout.read():
            taken = piece[: LIMIT_BYTES - len(said)]
            said += taken
            left_out += len(piece) - len(taken)
        if await child.wait():
            return b""
    if left_out:
        said += b"\n... and %d bytes more\n" % left_out
    return bytes(said)
