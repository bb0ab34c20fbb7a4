"""Objects read by libgit2 in this process: 5 to 20 µs, against 50 for a cat-file that runs.

Such look-ups run on the event loop itself, as those of references do: pygit2 holds the GIL while
it reads, so a thread would free nobody and cost a hop of 70 µs. What would take longer than a
millisecond or so (large objects) and whatever libgit2 may see otherwise than git, git is asked.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import pygit2

from gitaly.git import revisions_in_process as libgit2
from gitaly.git.commit_fields import has_own_parents
from gitaly.git.handles import Handles, Undecided
from gitaly.git.last_commit import last_commit
from gitaly.git.newest_commits import newest_commits
from gitaly.git.objects import (
    NO_LIMIT,
    PIECE_BYTES,
    LastCommit,
    Object,
    ObjectInfo,
    checked_revision,
)
from gitaly.git.objects_by_git import GitObjects
from gitaly.git.paths import RepositoryPaths

T = TypeVar("T")


class InProcessObjects:
    """Answers by libgit2 where it can, by git where it can't. See `Objects`."""

    def __init__(self, handles: Handles, by_git: GitObjects) -> None:
        self._handles = handles
        self._by_git = by_git

    async def info(self, repository: RepositoryPaths, revision: bytes) -> ObjectInfo | None:
        """See `Objects`."""
        try:
            return _info(self._handle(repository), revision)
        except Undecided:
            return await self._by_git.info(repository, revision)

    async def infos(
        self, repository: RepositoryPaths, revisions: Sequence[bytes]
    ) -> list[ObjectInfo | None]:
        """See `Objects`."""
        return await self._many(repository, revisions, _info, self._by_git.infos)

    async def read(self, repository: RepositoryPaths, revision: bytes) -> Object | None:
        """See `Objects`."""
        try:
            return _object(self._handle(repository), revision)
        except Undecided:
            return await self._by_git.read(repository, revision)

    async def read_many(
        self, repository: RepositoryPaths, revisions: Sequence[bytes]
    ) -> list[Object | None]:
        """See `Objects`."""
        return await self._many(repository, revisions, _object, self._by_git.read_many)

    async def pieces(
        self, repository: RepositoryPaths, info: ObjectInfo, limit: int = NO_LIMIT
    ) -> AsyncGenerator[bytes, None]:
        """See `Objects`."""
        if not info.size or not limit:
            return
        try:
            handle = self._handle(repository)
            if info.size > libgit2.LARGEST_BYTES:
                raise Undecided
            found = libgit2.content(handle, info.object_id)
            if found is None:
                raise Undecided
        except Undecided:
            async with aclosing(self._by_git.pieces(repository, info, limit)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        data = found[1]
        if limit < len(data):
            data = data[:limit]
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    async def newest_commits(
        self, repository: RepositoryPaths, revision: bytes, count: int
    ) -> list[Object] | None:
        """See `Objects`."""
        if has_own_parents(repository):
            return None
        try:
            return newest_commits(self._handle(repository), checked_revision(revision), count)
        except Undecided:
            return None

    async def last_commit(
        self, repository: RepositoryPaths, revision: bytes, path: bytes
    ) -> LastCommit | None:
        """See `Objects`."""
        if has_own_parents(repository):
            return None
        try:
            return last_commit(self._handle(repository), checked_revision(revision), path)
        except Undecided:
            return None

    async def resolve(self, repository: RepositoryPaths, revision: bytes) -> str | None:
        """See `Objects`."""
        try:
            return libgit2.resolve(self._handle(repository), checked_revision(revision))
        except Undecided:
            return await self._by_git.resolve(repository, revision)

    async def _many(
        self,
        repository: RepositoryPaths,
        revisions: Sequence[bytes],
        one: Callable[[pygit2.Repository, bytes], T | None],
        others: Callable[[RepositoryPaths, Sequence[bytes]], Awaitable[list[T | None]]],
    ) -> list[T | None]:
        """Each by libgit2; those that it can't decide by git, all at once."""
        handle = self._handles.of(repository)
        if handle is None:
            return await others(repository, revisions)
        found: list[T | None] = [None] * len(revisions)
        left = []
        for place, revision in enumerate(revisions):
            try:
                found[place] = one(handle, revision)
            except Undecided:
                left.append(place)
        if left:
            answers = await others(repository, [revisions[place] for place in left])
            for place, answer in zip(left, answers, strict=True):
                found[place] = answer
        return found

    def _handle(self, repository: RepositoryPaths) -> pygit2.Repository:
        handle = self._handles.of(repository)
        if handle is None:
            raise Undecided
        return handle


def _info(handle: pygit2.Repository, revision: bytes) -> ObjectInfo | None:
    object_id = libgit2.resolve(handle, checked_revision(revision))
    if object_id is None:
        return None
    found = libgit2.header(handle, object_id)
    return None if found is None else ObjectInfo(object_id, *found)


def _object(handle: pygit2.Repository, revision: bytes) -> Object | None:
    object_id = libgit2.resolve(handle, checked_revision(revision))
    if object_id is None:
        return None
    found = libgit2.small_content(handle, object_id)
    return None if found is None else Object(object_id, *found)
