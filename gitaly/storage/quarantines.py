"""What a push that was killed has left: git's own quarantine in the object directory.

`git receive-pack` keeps the objects of a push in `objects/tmp_objdir-incoming-*` until it is
accepted, and removes them when it ends; killed by a signal, it does not (since git 2.38).
"""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Final

from gitaly.git import reason
from gitaly.observe.log import Logger
from gitaly.storage.blocking import Blocking
from gitaly.storage.counter import walk_repositories
from gitaly.storage.tempdirs import remove_tree

PREFIX: Final = "tmp_objdir-incoming-"
# A push may wait for a slow client, also in a predecessor that is still draining; but one that
# has written nothing for an hour is taken for dead.
IDLE_SECONDS: Final = 3600


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


def remove_idle_quarantines(storage_path: str, now: float) -> list[str]:
    """Their paths. Blocks. Raises OSError only for the storage itself."""
    removed = []
    for relative_path in walk_repositories(storage_path):
        objects = os.path.join(storage_path, relative_path, "objects")
        for path in _quarantines(objects):
            if now - _last_change(path) > IDLE_SECONDS:
                try:
                    remove_tree(path)
                except OSError:
                    continue  # whoever owns it may have come to its end
                removed.append(path)
    return removed


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
