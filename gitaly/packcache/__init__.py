"""The pack-objects cache: a pack that many ask for is computed once."""

from gitaly.packcache.cache import PACKS, PREFIX, PackCache, pack_metrics, statistics_of
from gitaly.packcache.command import PackCommand, parse
from gitaly.packcache.request import Limiter, PackRequest

__all__ = [
    "PACKS",
    "PREFIX",
    "Limiter",
    "PackCache",
    "PackCommand",
    "PackRequest",
    "pack_metrics",
    "parse",
    "statistics_of",
]
