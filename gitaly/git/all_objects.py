"""Every object of a repository, reachable or not."""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

from gitaly.git.command import Git
from gitaly.git.objects import ObjectInfo
from gitaly.git.paths import RepositoryPaths
from gitaly.git.rev_list import git_lines


async def all_objects(
    git: Git, repository: RepositoryPaths, types: Collection[str]
) -> AsyncGenerator[list[ObjectInfo], None]:
    """Those of some types ("commit", "blob", …), each once, in no order, as git finds them.

    Objects of alternates count; if the repository names a quarantine and no alternates, only the
    quarantine's. Who leaves it early closes it (`contextlib.aclosing`). Raises GitFailed.
    """
    wanted = {kind.encode() for kind in types}
    output = git_lines(
        git,
        "cat-file",
        repository,
        flags=[
            "--batch-check=%(objecttype) %(objectname) %(objectsize)",
            "--batch-all-objects",
            "--buffer",
            "--unordered",
        ],
    )
    async with aclosing(output):
        async for lines in output:
            found = (line.split(b" ") for line in lines)
            infos = [
                ObjectInfo(object_id.decode(), kind.decode(), int(size))
                for kind, object_id, size in found
                if kind in wanted
            ]
            if infos:
                yield infos
