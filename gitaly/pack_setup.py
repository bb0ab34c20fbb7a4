"""Part of the composition root: builds what packs come from out of a node's configuration."""

from prometheus_client import CollectorRegistry

from gitaly.config import Config
from gitaly.git import Git
from gitaly.limiting import Limiting
from gitaly.observe.log import Logger
from gitaly.packcache import CacheMetrics, PackCache, Policy, Shelf, Store
from gitaly.storage import Blocking


def intercepts_packs(config: Config) -> bool:
    """Whether upload-pack asks the node for its packs: to keep them, or to limit their number."""
    return config.pack_objects_cache.enabled or config.origin.gives("pack_objects_limiting")


def make_pack_cache(
    config: Config,
    git: Git,
    limiting: Limiting,
    blocking: Blocking,
    registry: CollectorRegistry,
    logger: Logger,
) -> PackCache:
    """The cache, which keeps nothing unless the configuration wants it to."""
    wanted, shelf, metrics = config.pack_objects_cache, None, CacheMetrics(registry)
    if wanted.enabled:
        policy = Policy(
            max_age_seconds=wanted.max_age.total_seconds(),
            min_occurrences=wanted.min_occurrences,
            max_bytes=wanted.max_bytes,
            backpressure=wanted.backpressure,
        )
        store = Store(wanted.dir, min_free_bytes=wanted.min_free_bytes)
        shelf = Shelf(store, policy, blocking=blocking, metrics=metrics, logger=logger)
    return PackCache(
        git,
        shelf=shelf,
        limiter=limiting.pack_objects,
        blocking=blocking,
        metrics=metrics,
        logger=logger,
    )
