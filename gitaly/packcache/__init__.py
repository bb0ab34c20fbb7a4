"""The pack-objects cache: a pack that many ask for is computed once."""

from gitaly.packcache.cache import PackCache, Served
from gitaly.packcache.command import PackCommand, parse
from gitaly.packcache.index import Policy
from gitaly.packcache.metrics import CacheMetrics
from gitaly.packcache.reader import Limiter, PackRequest, Reader, Report
from gitaly.packcache.shelf import Shelf
from gitaly.packcache.store import Store

__all__ = [
    "CacheMetrics",
    "Limiter",
    "PackCache",
    "PackCommand",
    "PackRequest",
    "Policy",
    "Reader",
    "Report",
    "Served",
    "Shelf",
    "Store",
    "parse",
]
