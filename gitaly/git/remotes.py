"""Questions to repositories elsewhere. Redirects are never followed.

Git learns URLs and headers from its environment: they may hold passwords, and the arguments of a
program are there for every user of the machine to see.
"""

import os
from typing import Final

from gitaly.errors import NotFound
from gitaly.git.command import Git, GitFailed
from gitaly.git.invocation import NO_HOOKS
from gitaly.git.paths import RepositoryPaths
from gitaly.git.pinning import PinnedUrl
from gitaly.git.subcommands import check_positional

# An advertisement is small; what says more is no git repository.
ANSWER_LIMIT_BYTES: Final = 1 << 20
_HEAD_BRANCH: Final = b"HEAD branch: "
_NAME: Final = "inmemory"
_IN_NO_REPOSITORY: Final = {"GIT_DIR": os.devnull}  # none that happens to be around the node


async def answers(git: Git, url: str) -> bool:
    """Whether a repository with a HEAD answers at the URL.

    Raises InvalidArgument for one that begins like an option.
    """
    check_positional("ls-remote", url)
    done = await git.output(
        "ls-remote",
        args=[_NAME, "HEAD"],
        secrets=[(f"remote.{_NAME}.url", url)],
        env=_IN_NO_REPOSITORY,
        limit=ANSWER_LIMIT_BYTES,
    )
    object_id, _, name = done.stdout.partition(b"\t")
    return bool(done.exit) and name == b"HEAD\n" and len(object_id) in (40, 64)


async def remote_head_branch(
    git: Git, repository: RepositoryPaths, pinned: PinnedUrl, authorization: str
) -> str:
    """The short name of the branch that the remote's HEAD means.

    `authorization`: the value of an HTTP header, or empty. Raises NotFound, GitFailed.
    """
    secrets = [*pinned.config, (f"remote.{_NAME}.url", pinned.url)]
    if authorization:
        secrets.append((f"http.{pinned.url}.extraHeader", f"Authorization: {authorization}"))
    async with git.run(
        "remote",
        action="show",
        repository=repository,
        args=[_NAME],
        secrets=secrets,
        hooks=NO_HOOKS,
    ) as child:
        assert child.stdout is not None
        async for line in child.stdout.records():
            said = line.strip()
            if said.startswith(_HEAD_BRANCH):
                branch = said.removeprefix(_HEAD_BRANCH).decode(errors="replace")
                if branch == "(unknown)":
                    raise NotFound("no remote HEAD found")
                return branch
        how = await child.wait()
    if not how:
        raise GitFailed(how, child.error_text)
    raise NotFound("couldn't query the remote HEAD")
