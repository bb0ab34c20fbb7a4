"""Archives, made once and given to all who want the same."""

from collections.abc import AsyncGenerator
from typing import Final

from gitaly.archivecache.handover import Handover
from gitaly.archivecache.job import ArchiveJob
from gitaly.archivecache.key import key_of
from gitaly.archivecache.substitution import Substitution
from gitaly.git import Archive, Git, RepositoryPaths
from gitaly.observe.log import Logger
from gitaly.streamcache import (
    Blocking,
    Cache,
    CacheMetrics,
    Kind,
    Served,
    Shelf,
    StreamCache,
    StreamMetrics,
)
from gitaly.tasks import background

ARCHIVES: Final = Kind(
    name="archive",
    cache="archive cache",
    thing="archive",
    a_thing="an archive",
    program="git archive",
)


def archive_metrics(streams: StreamMetrics) -> CacheMetrics:
    """What is counted of archives. "doubtful": git complained while it made one."""
    return CacheMetrics(ARCHIVES, streams, more_reasons=["doubtful"])


class ArchiveCache(Cache):
    """Gives archives of commits."""

    def __init__(
        self,
        git: Git,
        *,
        shelf: Shelf,
        blocking: Blocking,
        metrics: CacheMetrics,
        logger: Logger,
    ) -> None:
        super().__init__(
            StreamCache(ARCHIVES, shelf=shelf, blocking=blocking, metrics=metrics, logger=logger)
        )
        self._git = git
        self._blocking = blocking
        self._substitution = Substitution(git)

    async def pieces(
        self,
        repository: RepositoryPaths,
        object_format: str,
        archive: Archive,
        *,
        commit: str | None,
        served: Served,
    ) -> AsyncGenerator[bytes, None]:
        """The archive, at most MESSAGE_BYTES at once. Close it when you leave it early.

        `commit`: the id of the commit that `archive` names; None: it is of something else, and
        made anew each time. Raises GitFailed, StoppedByLimit, or Internal if a file of the cache
        was damaged; perhaps after some of it. `served` tells what became of it once it is closed.
        """
        key = None
        if commit is not None and not await self._substitution.is_in(repository, commit):
            admin = self._git.admin_config
            key = await self._blocking.run(
                key_of, repository, object_format, archive, commit, admin
            )
        hand = Handover(self._blocking)

        async def serve() -> None:
            name = f"{repository.storage_name}/{repository.relative_path}"
            try:
                await self._streams.serve(key, job, name, hand, served)
            finally:
                hand.end()

        def job() -> ArchiveJob:
            return ArchiveJob(self._git, repository, archive)

        async with background(serve()) as serving:
            try:
                while piece := await hand.next():
                    yield piece
                await serving
            finally:
                hand.leave()
