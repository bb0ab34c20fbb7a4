"""The archive cache of a node, made from its configuration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gitaly.archivecache import ARCHIVES, ArchiveCache, archive_metrics
from gitaly.config import Config
from gitaly.git import Git
from gitaly.observe.log import Logger
from gitaly.pack_setup import make_shelf
from gitaly.storage import Blocking
from gitaly.streamcache import StreamMetrics


@asynccontextmanager
async def archive_cache(
    config: Config, git: Git, blocking: Blocking, streams: StreamMetrics, logger: Logger
) -> AsyncIterator[ArchiveCache | None]:
    """For the length of the block; None where it is not enabled."""
    wanted = config.archive_cache
    if not wanted.enabled:
        yield None
        return
    metrics = archive_metrics(streams)
    shelf = make_shelf(wanted, ARCHIVES, blocking, metrics, logger)
    cache = ArchiveCache(git, shelf=shelf, blocking=blocking, metrics=metrics, logger=logger)
    async with cache:
        yield cache
