"""Tags by pattern, as `git tag --list` finds them."""

from gitaly.git.command import Git
from gitaly.git.invocation import NO_HOOKS
from gitaly.git.paths import RepositoryPaths
from gitaly.git.references import ListedReference


async def first_tag(
    git: Git, repository: RepositoryPaths, pattern: bytes
) -> ListedReference | None:
    """The first whose short name matches; None: there is none, or its object is missing.

    Raises GitFailed if git fails after it has told one, InvalidArgument for what it can't be asked.
    """
    done = await git.output(
        "tag",
        repository=repository,
        flags=["-l", "--format=%(objecttype) %(objectname) %(refname)"],
        args=[pattern],
        hooks=NO_HOOKS,
    )
    line = done.stdout.partition(b"\n")[0]
    if not line:
        return None
    done.checked()
    _, target, name = line.split(b" ", 2)
    return ListedReference(name, target.decode())
