"""What a push that was killed has left: git's own quarantine in the object directory.

`git receive-pack` keeps the objects of a push in `objects/tmp_objdir-incoming-*` until it is
accepted, and removes them when it ends; killed by a signal, it does not (since git 2.38).
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gitaly.git import reason
from gitaly.observe.log import Logger
from gitaly.storage.blocking import Blocking
from gitaly.storage.counter import walk_repositories
from gitaly.storage.tempdirs import remove_tree

PREFIX: Final = "tmp_objdir-incoming-"
# For what we can't know: whether somebody else's git, which /proc does not show us, still runs. One
# that has written nothing for an hour is taken for dead.
IDLE_SECONDS: Final = 3600
CLOCK_TICK_SECONDS: Final = 0.1  # times of files are a little behind


async def sweep_quarantines(
    storage_paths: Iterable[str], blocking: Blocking, logger: Logger
) -> None:
    """Remove what dead pushes have left in any repository; for the start of a node."""
    for storage_path in storage_paths:
        try:
            removed = await blocking.run(remove_idle_quarantines, storage_path, time.time())
        except OSError as error:
            logger.error("cannot look for quarantines", storage=storage_path, error=reason(error))
        else:
            if removed:
                logger.info(
                    "removed leftover quarantines", storage=storage_path, quarantines=len(removed)
                )


def remove_idle_quarantines(
    storage_path: str, now: float, working: "Working | None" = None
) -> list[str]:
    """Their paths. Blocks. Raises OSError only for the storage itself.

    A push may wait long for a slow client, also in a predecessor that is still draining: where a
    git works in the repository, whoever has started it, everything is left alone for an hour.
    """
    working = working or working_gits()
    removed = []
    for relative_path in walk_repositories(storage_path):
        objects = os.path.join(storage_path, relative_path, "objects")
        for path in _quarantines(objects):
            changed = _last_change(path)
            is_dead = changed < working.seen_at - CLOCK_TICK_SECONDS and not working.may_be_in(
                os.path.join(storage_path, relative_path)
            )
            if is_dead or now - changed > IDLE_SECONDS:
                try:
                    remove_tree(path)
                except OSError:
                    continue  # whoever owns it may have come to its end
                removed.append(path)
    return removed


@dataclass(frozen=True, slots=True)
class Working:
    """Where gits run. receive-pack works in the directory of its repository."""

    directories: frozenset[str]
    seen_at: float  # seconds since 1970; who has begun later is not among them
    are_all_known: bool = True  # False: some belong to other users

    def may_be_in(self, repository_path: str) -> bool:
        """Whether a git runs in a repository, as far as anybody can tell."""
        return not self.are_all_known or os.path.realpath(repository_path) in self.directories


def working_gits(proc: str = "/proc") -> Working:
    """Those of this machine, and of this container, at this moment. Blocks."""
    directories, are_all_known, seen_at = set(), True, time.time()
    for pid in filter(str.isdigit, os.listdir(proc)):
        try:
            with open(f"{proc}/{pid}/comm", "rb") as comm:
                if comm.read().startswith(b"git"):
                    directories.add(os.readlink(f"{proc}/{pid}/cwd"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        except PermissionError:
            are_all_known = False
    return Working(frozenset(directories), seen_at, are_all_known)


def _quarantines(objects: str) -> Iterator[str]:
    try:
        with os.scandir(objects) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
    except OSError:
        return
    yield from (os.path.join(objects, name) for name in names)


def _last_change(path: str) -> float:
    """When something in it was last written."""
    newest = 0.0
    for directory, _, names in os.walk(path):
        for name in (".", *names):
            try:
                newest = max(newest, os.lstat(os.path.join(directory, name)).st_mtime)
            except OSError:
                continue
    return newest
