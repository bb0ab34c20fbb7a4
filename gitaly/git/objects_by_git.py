"""Objects as `git cat-file` tells them: works for every repository, 50 µs a question."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gitaly.git.catfile_pool import CatfilePool
from gitaly.git.command import Git
from gitaly.git.objects import NO_LIMIT, LastCommit, Object, ObjectInfo, checked_revision
from gitaly.git.paths import RepositoryPaths
from gitaly.git.revision_syntax import is_whole_object_id

READ_ON_BYTES: Final = 256 * 1024  # what is left of a content is read rather than git ended


class GitObjects:
    """Answers with processes of a pool. See `Objects`."""

    def __init__(self, git: Git, pool: CatfilePool) -> None:
        self._git = git
        self._pool = pool

    async def info(self, repository: RepositoryPaths, revision: bytes) -> ObjectInfo | None:
        """See `Objects`."""
        return (await self.infos(repository, [revision]))[0]

    async def infos(
        self, repository: RepositoryPaths, revisions: Sequence[bytes]
    ) -> list[ObjectInfo | None]:
        """See `Objects`."""
        checked = [checked_revision(revision) for revision in revisions]
        async with self._pool.process(repository) as process:
            return await process.infos(checked)

    async def read(self, repository: RepositoryPaths, revision: bytes) -> Object | None:
        """See `Objects`."""
        return (await self.read_many(repository, [revision]))[0]

    async def read_many(
        self, repository: RepositoryPaths, revisions: Sequence[bytes]
    ) -> list[Object | None]:
        """See `Objects`."""
        checked = [checked_revision(revision) for revision in revisions]
        async with self._pool.process(repository) as process:
            return await process.read_many(checked)

    async def pieces(
        self, repository: RepositoryPaths, info: ObjectInfo, limit: int = NO_LIMIT
    ) -> AsyncGenerator[bytes, None]:
        """See `Objects`."""
        wanted = left = min(limit, info.size)
        if not left:
            return
        async with (
            self._pool.process(repository) as process,
            aclosing(process.pieces(info)) as pieces,
        ):
            async for piece in pieces:
                if left:
                    yield piece[:left]
                    left -= min(left, len(piece))
                if not left and info.size - wanted > READ_ON_BYTES:
                    process.child.close_pipes()  # nobody can use it any more
                    return

    async def newest_commits(
        self, _repository: RepositoryPaths, _revision: bytes, _count: int
    ) -> list[Object] | None:
        """See `Objects`."""
        return None

    async def last_commit(
        self, _repository: RepositoryPaths, _revision: bytes, _path: bytes
    ) -> LastCommit | None:
        """See `Objects`."""
        return None

    async def resolve(self, repository: RepositoryPaths, revision: bytes) -> str | None:
        """See `Objects`."""
        if is_whole_object_id(revision, self._git.formats.of(repository.path).object_format):
            return revision.decode().lower()
        info = await self.info(repository, revision)
        if info is not None:
            return info.object_id
        done = await self._git.output(
            "rev-parse", repository=repository, flags=["--verify"], args=[revision]
        )
        return done.stdout.decode().strip() if done.exit else None
