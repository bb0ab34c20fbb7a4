"""What Prometheus learns about the cache. Names are Gitaly's; the last block is ours."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class CacheMetrics:
    """Counts packs and their bytes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        lookups = counter(
            "gitaly_pack_objects_cache_lookups_total",
            "Packs that were served, by whether git had to compute them.",
            "result",
        )
        self.hits, self.misses = lookups.labels("hit"), lookups.labels("miss")
        self.served = counter("gitaly_pack_objects_served_bytes_total", "Bytes given to clients.")
        self.generated = counter(
            "gitaly_pack_objects_generated_bytes_total", "Bytes that git pack-objects wrote."
        )
        self.copied = counter(
            "gitaly_streamcache_sendfile_bytes_total",
            "Bytes that the kernel moved from a file to a client.",
        )
        self.removed = counter(
            "gitaly_streamcache_filestore_removed_total", "Files that were removed.", "dir"
        )
        self._registry = registry
        self._enabled: Gauge | None = None

        self.saved = counter(
            "gitaly_pack_objects_cache_saved_bytes_total",
            "Bytes given to clients that git did not have to compute for them.",
        )
        self.joined = counter(
            "gitaly_pack_objects_cache_joined_total",
            "Hits that joined a pack while git was computing it.",
        )
        self.dropped = counter(
            "gitaly_pack_objects_cache_dropped_total",
            "Packs that left the cache before their time.",
            "reason",
        )
        self.unkept = counter(
            "gitaly_pack_objects_cache_unkept_total",
            "Packs that went straight to clients because they could not be kept.",
            "reason",
        )
        for reason in ("room", "changed", "failed"):
            self.dropped.labels(reason)
        for reason in ("unrepeatable", "room", "error", "off"):
            self.unkept.labels(reason)

    def observe_store(
        self,
        directory: str,
        max_age_seconds: float,
        entries: Callable[[], float],
        used_bytes: Callable[[], float],
    ) -> None:
        """Show an enabled cache."""
        self._enabled = Gauge(
            "gitaly_pack_objects_cache_enabled",
            "1 where the cache is on.",
            ["dir", "max_age"],
            registry=self._registry,
        )
        self._enabled.labels(directory, f"{max_age_seconds:g}").set(1)
        index = Gauge(
            "gitaly_streamcache_index_entries",
            "Packs that can be found.",
            ["dir", "cache_name"],
            registry=self._registry,
        )
        index.labels(directory, "pack_objects").set_function(entries)
        usage = Gauge(
            "gitaly_streamcache_filestore_disk_usage_bytes",
            "Bytes in files of the cache.",
            ["dir"],
            registry=self._registry,
        )
        usage.labels(directory).set_function(used_bytes)
        self.removed.labels(directory)

    def show_age(self, directory: str, former_seconds: float, max_age_seconds: float) -> None:
        """Show another maximal age of an enabled cache."""
        assert self._enabled is not None
        self._enabled.remove(directory, f"{former_seconds:g}")
        self._enabled.labels(directory, f"{max_age_seconds:g}").set(1)


def count_of(counter: Counter) -> int:
    """Where a counter stands; for somebody who looks, not for every call."""
    return int(next(iter(counter.collect())).samples[0].value)
