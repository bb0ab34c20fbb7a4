"""What Prometheus learns about caches. Names are Gitaly's, but for what `CacheMetrics` says."""

from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from gitaly.streamcache.kind import Kind

REASONS: Final = ("unrepeatable", "room", "error")  # for which any cache does not keep something


class StreamMetrics:
    """What all caches of a node have in common."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.copied = Counter(
            "gitaly_streamcache_sendfile_bytes_total",
            "Bytes that the kernel moved from a file to a client.",
            registry=registry,
        )
        self.removed = Counter(
            "gitaly_streamcache_filestore_removed_total",
            "Files that were removed.",
            ["dir"],
            registry=registry,
        )
        self._index = Gauge(
            "gitaly_streamcache_index_entries",
            "What can be found in a cache.",
            ["dir", "cache_name"],
            registry=registry,
        )
        self._usage = Gauge(
            "gitaly_streamcache_filestore_disk_usage_bytes",
            "Bytes in files of the caches of a directory.",
            ["dir"],
            registry=registry,
        )
        self._used: dict[str, list[Callable[[], float]]] = {}  # by directory

    def observe(
        self,
        name: str,
        directory: str,
        entries: Callable[[], float],
        used_bytes: Callable[[], float],
    ) -> None:
        """Show a cache; two may share a directory."""
        self._index.labels(directory, name).set_function(entries)
        used = self._used.setdefault(directory, [])
        used.append(used_bytes)
        self._usage.labels(directory).set_function(lambda: sum(each() for each in used))
        self.removed.labels(directory)


class CacheMetrics:
    """Counts what one cache serves, and its bytes.

    `saved`, `joined`, `dropped` and `unkept` are ours; so are all names of another cache than
    that of packs, but for the one that tells that it is on.
    """

    def __init__(
        self,
        kind: Kind,
        streams: StreamMetrics,
        *,
        more_reasons: Sequence[str],
        is_moved_by_kernel: bool = False,
    ) -> None:
        """`more_reasons` not to keep something, besides those that any cache has;
        `is_moved_by_kernel`: readers copy from files without looking at the bytes."""
        things, program = f"{kind.thing}s", kind.program
        cache, registry = f"gitaly_{kind.name}_cache", streams.registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        lookups = counter(
            f"{cache}_lookups_total",
            f"{things.capitalize()} that were served, by whether git had to compute them.",
            "result",
        )
        self.hits, self.misses = lookups.labels("hit"), lookups.labels("miss")
        self.served = counter(f"gitaly_{kind.name}_served_bytes_total", "Bytes given to clients.")
        self.generated = counter(
            f"gitaly_{kind.name}_generated_bytes_total", f"Bytes that {program} wrote."
        )
        self.saved = counter(
            f"{cache}_saved_bytes_total",
            "Bytes given to clients that git did not have to compute for them.",
        )
        self.joined = counter(
            f"{cache}_joined_total", f"Hits that joined {kind.a_thing} while git was computing it."
        )
        self.dropped = counter(
            f"{cache}_dropped_total",
            f"{things.capitalize()} that left the cache before their time.",
            "reason",
        )
        self.unkept = counter(
            f"{cache}_unkept_total",
            f"{things.capitalize()} that went straight to clients because they could not be kept.",
            "reason",
        )
        for reason in ("room", "changed", "failed"):
            self.dropped.labels(reason)
        for reason in (*REASONS, *more_reasons):
            self.unkept.labels(reason)
        self.streams = streams
        self._kind = kind
        self._is_moved_by_kernel = is_moved_by_kernel
        self._enabled: Gauge | None = None

    def count_copied(self, count: int) -> None:
        """A reader has copied so many bytes from a file."""
        if self._is_moved_by_kernel:
            self.streams.copied.inc(count)

    def observe_store(
        self,
        directory: str,
        max_age_seconds: float,
        entries: Callable[[], float],
        used_bytes: Callable[[], float],
    ) -> None:
        """Show an enabled cache."""
        self._enabled = Gauge(
            f"gitaly_{self._kind.name}_cache_enabled",
            "1 where the cache is on.",
            ["dir", "max_age"],
            registry=self.streams.registry,
        )
        self._enabled.labels(directory, f"{max_age_seconds:g}").set(1)
        self.streams.observe(self._kind.name, directory, entries, used_bytes)

    def show_age(self, directory: str, former_seconds: float, max_age_seconds: float) -> None:
        """Show another maximal age of an enabled cache."""
        assert self._enabled is not None
        self._enabled.remove(directory, f"{former_seconds:g}")
        self._enabled.labels(directory, f"{max_age_seconds:g}").set(1)


def count_of(counter: Counter) -> int:
    """Where a counter stands; for somebody who looks, not for every call."""
    return int(next(iter(counter.collect())).samples[0].value)
