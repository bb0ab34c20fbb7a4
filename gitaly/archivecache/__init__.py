"""The archive cache: an archive that many ask for is made once."""

from gitaly.archivecache.cache import ARCHIVES, ArchiveCache, archive_metrics

__all__ = ["ARCHIVES", "ArchiveCache", "archive_metrics"]
