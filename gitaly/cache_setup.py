"""The caches of a node, made from its configuration."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from gitaly.archivecache import ARCHIVES, ArchiveCache, archive_metrics
from gitaly.config import CacheConfig, Config
from gitaly.git import Git
from gitaly.observe.log import Logger
from gitaly.packcache import PACKS, Limiter, PackCache, pack_metrics
from gitaly.storage import Blocking
from gitaly.streamcache import CacheMetrics, Kind, Policy, Shelf, Store, StreamMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """What a node keeps of its answers."""

    packs: PackCache  # keeps nothing where it is not enabled, but also runs pack-objects then
    archives: ArchiveCache | None  # None: not enabled


@asynccontextmanager
async def running_caches(
    config: Config,
    git: Git,
    limiter: Limiter,
    blocking: Blocking,
    trace_directory: str,
    registry: CollectorRegistry,
    logger: Logger,
) -> AsyncIterator[Caches]:
    """For the length of the block.

    `limiter`: of pack-objects; `trace_directory`: for what its children say of themselves.
    """
    streams = StreamMetrics(registry)

    def shelf(wanted: CacheConfig, kind: Kind, metrics: CacheMetrics) -> Shelf:
        return Shelf(
            Store(wanted.dir, min_free_bytes=wanted.min_free_bytes),
            policy_of(wanted),
            kind=kind,
            blocking=blocking,
            metrics=metrics,
            logger=logger,
        )

    async with AsyncExitStack() as stack:
        wanted, metrics = config.pack_objects_cache, pack_metrics(streams)
        packs = PackCache(
            git,
            shelf=shelf(wanted, PACKS, metrics) if wanted.enabled else None,
            limiter=limiter,
            blocking=blocking,
            metrics=metrics,
            trace_directory=trace_directory,
            logger=logger,
        )
        await stack.enter_async_context(packs)
        archives = None
        if config.archive_cache.enabled:
            metrics = archive_metrics(streams)
            archives = ArchiveCache(
                git,
                shelf=shelf(config.archive_cache, ARCHIVES, metrics),
                blocking=blocking,
                metrics=metrics,
                logger=logger,
            )
            await stack.enter_async_context(archives)
        yield Caches(packs=packs, archives=archives)


def intercepts_packs(config: Config) -> bool:
    """Whether upload-pack asks the node for its packs: to keep them, or to limit their number."""
    return config.pack_objects_cache.enabled or config.origin.gives("pack_objects_limiting")


def policy_of(cache: CacheConfig) -> Policy:
    """What the operator wants to be kept."""
    return Policy(
        max_age_seconds=cache.max_age.total_seconds(),
        min_occurrences=cache.min_occurrences,
        max_bytes=cache.max_bytes,
        backpressure=cache.backpressure,
    )
