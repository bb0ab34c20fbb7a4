"""Caches of what git writes: many who ask for the same share one git, and its output is kept."""

from gitaly.streamcache.cache import Cache, Served, StreamCache
from gitaly.streamcache.identity import digest_of, repository_identity
from gitaly.streamcache.index import Policy
from gitaly.streamcache.job import Job, Sayer, Work, hear
from gitaly.streamcache.kind import Kind
from gitaly.streamcache.metrics import CacheMetrics, StreamMetrics
from gitaly.streamcache.reader import Blocking, Reader, Report
from gitaly.streamcache.shelf import Shelf
from gitaly.streamcache.store import Store

__all__ = [
    "Blocking",
    "Cache",
    "CacheMetrics",
    "Job",
    "Kind",
    "Policy",
    "Reader",
    "Report",
    "Sayer",
    "Served",
    "Shelf",
    "Store",
    "StreamCache",
    "StreamMetrics",
    "Work",
    "digest_of",
    "hear",
    "repository_identity",
]
