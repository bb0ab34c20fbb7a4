"""The pack-objects cache of a node, made from its configuration."""

from gitaly.config import CacheConfig, Config
from gitaly.git import Git
from gitaly.observe.log import Logger
from gitaly.packcache import PACKS, Limiter, PackCache, pack_metrics
from gitaly.storage import Blocking
from gitaly.streamcache import CacheMetrics, Kind, Policy, Shelf, Store, StreamMetrics


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


def make_shelf(
    wanted: CacheConfig, kind: Kind, blocking: Blocking, metrics: CacheMetrics, logger: Logger
) -> Shelf:
    """Where an enabled cache keeps things."""
    return Shelf(
        Store(wanted.dir, min_free_bytes=wanted.min_free_bytes),
        policy_of(wanted),
        kind=kind,
        blocking=blocking,
        metrics=metrics,
        logger=logger,
    )


def make_pack_cache(
    config: Config,
    git: Git,
    limiter: Limiter,
    blocking: Blocking,
    runtime_directory: str,
    streams: StreamMetrics,
    logger: Logger,
) -> PackCache:
    """To be entered; it keeps nothing where it is not enabled."""
    wanted, shelf, metrics = config.pack_objects_cache, None, pack_metrics(streams)
    if wanted.enabled:
        shelf = make_shelf(wanted, PACKS, blocking, metrics, logger)
    return PackCache(
        git,
        shelf=shelf,
        limiter=limiter,
        blocking=blocking,
        metrics=metrics,
        trace_directory=runtime_directory,
        logger=logger,
    )
