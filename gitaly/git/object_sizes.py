"""What objects take on disk."""

import re
from typing import Final

from gitaly.errors import Internal, NotFound
from gitaly.git.command import Git
from gitaly.git.paths import RepositoryPaths
from gitaly.git.revision_input import RevisionLines

_UNKNOWN: Final = re.compile(rb"fatal: bad revision '([^']*)'")


async def objects_size(git: Git, repository: RepositoryPaths, revisions: RevisionLines) -> int:
    """Bytes on disk of all objects reachable from the revisions, each counted once.

    Raises NotFound for a revision that does not exist, FailedPrecondition for what only a newer
    git can be told.
    """
    said = revisions.input_for(git.binary)
    done = await git.output(
        "rev-list",
        repository=repository,
        flags=["--disk-usage", "--objects", *said.flags, "--stdin"],
        input=said.stdin,
    )
    if done.exit:
        return int(done.stdout)
    unknown = _UNKNOWN.match(done.stderr)
    if unknown:
        raise NotFound("revision not found", revision=unknown[1].decode(errors="replace"))
    code = -1 if done.exit.code is None else done.exit.code
    raise Internal(
        f"rev-list failed with error code {code}", stderr=done.stderr.decode(errors="replace")
    )
