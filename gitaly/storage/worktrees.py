"""Removing the worktrees that nobody works in any more.

Source: Gitaly, internal/git/housekeeping/worktrees.go.
"""

import os
import shutil
import time
from typing import Final

from gitaly.errors import Internal
from gitaly.git import NO_HOOKS, Git, GitFailed, reason
from gitaly.storage.blocking import Blocking
from gitaly.storage.repository import Repository

DIRECTORY: Final = "gitlab-worktree"
OLD_SECONDS: Final = 6 * 3600


async def clean_up_worktrees(git: Git, repository: Repository, blocking: Blocking) -> None:
    """Remove worktrees of 6 hours and more, and what git remembers of others that are gone.

    As a rule there is none, and no git is started. Raises Internal.
    """
    old, has_others = await blocking.run(_found, repository.path, time.time())
    for name in old:
        await _remove(git, repository, name, blocking)
    if has_others:
        done = await git.output("worktree", action="prune", repository=repository, hooks=NO_HOOKS)
        done.checked()


async def _remove(git: Git, repository: Repository, name: str, blocking: Blocking) -> None:
    done = await git.output(
        "worktree",
        action="remove",
        repository=repository,
        flags=["--force"],
        args=[name],
        hooks=NO_HOOKS,
    )
    if done.exit:
        return
    if not done.stderr.startswith(os.fsencode(f"fatal: '{name}' is not a working tree")):
        raise GitFailed(done.exit, done.stderr, with_stderr=True)
    try:
        await blocking.run(shutil.rmtree, os.path.join(repository.path, DIRECTORY, name))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Internal(f"worktree remove dir: {reason(error)}") from error


def _found(path: str, now: float) -> tuple[list[str], bool]:
    """The names of the old ones, and whether git remembers any at all."""
    return _old_worktrees(path, now), _has_directory(os.path.join(path, "worktrees"))


def _old_worktrees(path: str, now: float) -> list[str]:
    try:
        with os.scandir(os.path.join(path, DIRECTORY)) as entries:
            return [
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
                and now - entry.stat(follow_symlinks=False).st_mtime > OLD_SECONDS
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _has_directory(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(entry.is_dir(follow_symlinks=False) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False
