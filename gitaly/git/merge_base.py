"""Where histories meet."""

from collections.abc import Sequence

from gitaly.git.command import Git
from gitaly.git.paths import RepositoryPaths


async def merge_base(
    git: Git, repository: RepositoryPaths, revisions: Sequence[bytes]
) -> str | None:
    """The id of the best common ancestor of the first and all other revisions; None: there is none.

    None also for a revision that does not exist: clients get an empty answer, not an error. Raises
    InvalidArgument for a revision that git would take for an option.
    Source: Gitaly, internal/gitaly/service/repository/merge_base.go.
    """
    done = await git.output("merge-base", repository=repository, args=revisions)
    return done.stdout.decode().strip() if done.exit else None
