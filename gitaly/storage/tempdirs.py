"""Temporary directories in a storage, `+gitaly/tmp`, and the sweeping of what was left there.

They are on the storage's own file system, so that a rename brings their content to its place.
Source: Gitaly, internal/tempdir.
"""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from gitaly.errors import Internal
from gitaly.git import reason
from gitaly.observe.log import Logger
from gitaly.storage.blocking import Blocking
from gitaly.storage.places import temporary_directory

OLD_SECONDS: Final = 7 * 24 * 3600
DIRECTORY_MODE: Final = 0o700


class Temporary:
    """A directory `+gitaly/tmp/<prefix><random>`, mode 0700. Making and removing it block."""

    def __init__(self, storage_path: str, prefix: str) -> None:
        self._root = temporary_directory(storage_path)
        self._prefix = prefix
        self.path = ""  # until it is made

    def make(self) -> None:
        """Raises OSError."""
        os.makedirs(self._root, DIRECTORY_MODE, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix=self._prefix, dir=self._root)

    def remove(self) -> None:
        """With all it holds; nothing, if it was not made or has been moved. Raises OSError."""
        if self.path:
            remove_tree(self.path)


def remove_tree(path: str) -> None:
    """Delete whatever is at `path`, also from directories without permissions. Blocks.

    Nothing is there: nothing happens. Raises OSError for the first thing that resists.
    """
    if os.path.islink(path):
        os.unlink(path)
        return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if os.path.lexists(path):  # somebody else deletes below it at the same time
            shutil.rmtree(path, ignore_errors=True)
    except NotADirectoryError:
        os.unlink(path)
    except PermissionError:
        _permit(path)
        shutil.rmtree(path)


def _permit(path: str) -> None:
    os.chmod(path, DIRECTORY_MODE)
    for parent, directories, _ in os.walk(path):  # top down: opened before it is entered
        for name in directories:
            full = os.path.join(parent, name)
            if not os.path.islink(full):
                os.chmod(full, DIRECTORY_MODE)


@asynccontextmanager
async def temporary(
    blocking: Blocking, storage_path: str, prefix: str = "repo"
) -> AsyncIterator[str]:
    """A new, empty directory for the length of the block, gone afterwards in any case.

    The block may remove or rename it. Raises Internal if it cannot be made.
    """
    directory = Temporary(storage_path, prefix)
    try:
        try:
            await blocking.run(directory.make)
        except OSError as error:
            raise Internal(f"creating temporary directory: {reason(error)}") from error
        yield directory.path
    finally:
        with suppress(OSError):  # what resists is left to the sweep
            await blocking.run(directory.remove)


@asynccontextmanager
async def temporary_file(
    blocking: Blocking, storage_path: str, prefix: str, content: bytes
) -> AsyncIterator[str]:
    """A file with that content, alone in a temporary directory, for the length of the block."""
    async with temporary(blocking, storage_path, prefix) as directory:
        path = Path(directory, "content")
        await blocking.run(path.write_bytes, content)
        yield str(path)


async def sweep(storage_paths: Iterable[str], blocking: Blocking, logger: Logger) -> None:
    """Remove what is 7 days old in the temporary directories; at start and then every hour.

    An error ends the sweep of its storage only, and is logged.
    """
    for storage_path in storage_paths:
        started = time.monotonic()
        fields: dict[str, object] = {"storage": storage_path}
        try:
            await blocking.run(sweep_storage, storage_path, time.time())
        except OSError as error:
            fields["error"] = str(error)
        fields["time_ms"] = int((time.monotonic() - started) * 1000)
        logger.info("finished tempdir cleaner walk", **fields)


def sweep_storage(storage_path: str, now: float) -> list[str]:
    """Remove entries of `+gitaly/tmp` last changed 7 days or more before `now`. Blocks.

    Returns their names. Raises OSError for the first that resists.
    """
    removed = []
    try:
        entries = list(os.scandir(temporary_directory(storage_path)))
    except FileNotFoundError:
        return []
    for entry in entries:
        try:
            age = now - entry.stat(follow_symlinks=False).st_mtime
        except FileNotFoundError:  # its owner was faster
            continue
        if age >= OLD_SECONDS:
            remove_tree(entry.path)
            removed.append(entry.name)
    return removed
