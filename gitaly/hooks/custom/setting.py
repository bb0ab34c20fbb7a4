"""Replacing the custom hooks of a repository, at once and for good, and reading them.

Source of the order of steps and of the digests: Gitaly, internal/gitaly/repoutil/custom_hooks.go.
"""

import ctypes
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import suppress
from hashlib import sha1
from typing import IO, Final

from gitaly.errors import Internal, prefixed
from gitaly.git import reason
from gitaly.hooks.custom.archive import read_archive, write_archive
from gitaly.hooks.custom.discovery import DIRECTORY
from gitaly.storage import Blocking, Phase, Repository, RepositoryLock, Vote, temporary
from gitaly.storage.votes import digest_of

PIECE_BYTES: Final = 128 * 1024
MOST_BYTES: Final = 1 << 30
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


class HookStore:
    """Custom hooks on their way between clients and repositories."""

    def __init__(self, blocking: Blocking) -> None:
        self._blocking = blocking

    async def read(self, repository: Repository) -> AsyncGenerator[bytes, None]:
        """An archive in pieces; nothing at all if the repository has no custom hooks.

        Raises Internal.
        """
        async with temporary(self._blocking, repository.storage_path) as directory:
            with await self._blocking.run(_new_file, directory) as file:
                try:
                    await self._blocking.run(write_archive, repository.path, file)
                except OSError as error:
                    why = reason(error)
                    raise Internal(f"reading custom hooks: archiving hooks: {why}") from error
                file.seek(0)
                while piece := await self._blocking.run(file.read, PIECE_BYTES):
                    yield piece

    async def replace(
        self, repository: Repository, pieces: AsyncIterator[bytes], vote: Vote | None = None
    ) -> None:
        """Take a whole archive, then put its hooks in the place of those that are there.

        Whatever happens, the repository has the old hooks or the new ones. An empty archive leaves
        an empty directory. Raises Internal and InvalidRequest.
        """
        with prefixed("setting custom hooks"):
            async with temporary(self._blocking, repository.storage_path) as directory:
                with await self._blocking.run(_new_file, directory) as file:
                    size = 0
                    async for piece in pieces:
                        size += len(piece)
                        if size > MOST_BYTES:
                            raise Internal(f"archive of more than {MOST_BYTES} bytes")
                        await self._blocking.run(file.write, piece)
                    await self._replace(repository, file, directory, vote)

    async def _replace(
        self, repository: Repository, file: IO[bytes], directory: str, vote: Vote | None
    ) -> None:
        run = self._blocking.run
        place = os.path.join(repository.path, DIRECTORY)
        new = os.path.join(directory, DIRECTORY)
        await _cast(vote, Phase.PREPARING, digest_of(b"preparing set custom hooks"))
        lock = RepositoryLock(place)
        with prefixed("locking hooks"):
            try:
                await run(lock.take)
            except OSError as error:
                raise Internal(reason(error)) from error
        try:
            await run(read_archive, file, directory)
            if vote is not None:
                await _cast(vote, Phase.PREPARED, await run(directory_digest, new))
            await run(_exchange, new, place)
            if vote is not None:
                await _cast(vote, Phase.COMMITTED, await run(directory_digest, place))
        except OSError as error:
            raise Internal(f"extracting hooks: {reason(error)}") from error
        finally:
            await run(lock.release)


def _new_file(directory: str) -> IO[bytes]:
    return open(os.path.join(directory, "archive"), "x+b")


async def _cast(vote: Vote | None, phase: Phase, digest: bytes) -> None:
    if vote is not None:
        with prefixed(f"casting {phase.value} vote"), prefixed("vote failed"):
            await vote(phase, digest)


def directory_digest(path: str) -> bytes:
    """What nodes vote on: names, modes and content of everything below, in lexical order. Blocks.

    A mode is four bytes of Go's os.FileMode. Source: Gitaly, internal/gitaly/repoutil.
    """
    digest = sha1(usedforsecurity=False)
    for relative, full in _entries(path, "."):
        mode = os.lstat(full).st_mode
        digest.update(os.fsencode(relative))
        digest.update(go_file_mode(mode).to_bytes(4, "big"))
        if not stat.S_ISDIR(mode):
            with open(full, "rb") as content:
                while piece := content.read(PIECE_BYTES):
                    digest.update(piece)
    return digest.digest()


def _entries(path: str, relative: str) -> Iterator[tuple[str, str]]:
    yield relative, path
    if os.path.islink(path) or not os.path.isdir(path):
        return
    for name in sorted(os.listdir(path), key=os.fsencode):
        below = name if relative == "." else f"{relative}/{name}"
        yield from _entries(os.path.join(path, name), below)


def go_file_mode(mode: int) -> int:
    """A mode of stat(2) as Go counts it."""
    flags = (
        (stat.S_ISDIR(mode), 1 << 31),
        (stat.S_ISLNK(mode), 1 << 27),
        (bool(mode & stat.S_ISUID), 1 << 23),
        (bool(mode & stat.S_ISGID), 1 << 22),
        (bool(mode & stat.S_ISVTX), 1 << 20),
    )
    return (stat.S_IMODE(mode) & 0o777) | sum(bit for is_set, bit in flags if is_set)


def _exchange(new: str, place: str) -> None:
    """Put `new` in its place; what was there is where `new` was. There is no moment between."""
    _sync_tree(new)
    if not _try_exchange(new, place):
        if os.path.lexists(place):  # a file system that cannot exchange, or nothing to exchange
            os.rename(place, f"{new}.old")
        os.rename(new, place)
    _sync_directory(os.path.dirname(place))


def _try_exchange(new: str, place: str) -> bool:
    libc = ctypes.CDLL(None)
    with suppress(AttributeError):  # a C library without renameat2
        arguments = (_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(place), _RENAME_EXCHANGE)
        return bool(libc.renameat2(*arguments) == 0)
    return False


def _sync_tree(top: str) -> None:
    for directory, _, _ in os.walk(top):
        _sync_directory(directory)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
