"""What limits tell Prometheus, under the names and labels that Gitaly's dashboards know.

Series that Gitaly does not have are called `gitaly_limit_…`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PER_RPC: Final = "per-rpc"
PACK_OBJECTS: Final = "pack-objects"
UNAUTHENTICATED: Final = "-unauthenticated"


def name_of(rpc: str, *, authenticated: bool) -> str:
    """How current_limit and the series of our own call the limit of a method."""
    return f"perRPC{rpc}" + ("" if authenticated else UNAUTHENTICATED)


def pack_objects_name(*, authenticated: bool) -> str:
    """The same for the limit of pack-objects."""
    return "packObjects" + ("" if authenticated else UNAUTHENTICATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """The series of one limiter, bound once: looking labels up costs more than counting."""

    kind: str  # PER_RPC, PACK_OBJECTS
    name: str  # as in gitaly_concurrency_limiting_current_limit
    authenticated: str  # for the log: "true", "false"; empty: not said
    in_progress: Gauge
    queued: Gauge
    acquiring: Histogram
    dropped: Callable[[str], Counter]  # by reason: a series appears with its first drop
    most_wanted: Gauge
    keys: Gauge
    shadow_queued: Counter
    shadow_dropped: Callable[[str], Counter]


class _OwnSeries:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.most_wanted = Gauge(
            "gitaly_limit_most_wanted",
            "Most calls at once for one key since the start: running, waiting or refused",
            ["limit"],
            registry=registry,
        )
        self.keys = Gauge(
            "gitaly_limit_keys",
            "Keys (repositories, clients) that somebody runs or waits for",
            ["limit"],
            registry=registry,
        )
        self.shadow_queued = Counter(
            "gitaly_limit_shadow_queued_total",
            "Calls that would have waited if the limit were enforced",
            ["limit"],
            registry=registry,
        )
        self.shadow_dropped = Counter(
            "gitaly_limit_shadow_dropped_total",
            "Calls that would have been refused if the limit were enforced",
            ["limit", "reason"],
            registry=registry,
        )


class LimitMetrics:
    """Makes the monitors of all limiters of a node."""

    def __init__(self, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        labels = ["system", "grpc_service", "grpc_method"]
        self._own = _OwnSeries(registry)
        self._in_progress = Gauge(
            "gitaly_concurrency_limiting_in_progress",
            "Gauge of number of concurrent in-progress calls",
            labels,
            registry=registry,
        )
        self._queued = Gauge(
            "gitaly_concurrency_limiting_queued",
            "Gauge of number of queued calls",
            labels,
            registry=registry,
        )
        self._dropped = Counter(
            "gitaly_requests_dropped_total",
            "Number of requests dropped from the queue",
            [*labels, "reason", "authenticated"],
            registry=registry,
        )
        self._acquiring = _seconds(
            "gitaly_concurrency_limiting_acquiring_seconds", labels, buckets, registry
        )
        self._pack_in_progress = Gauge(
            "gitaly_pack_objects_in_progress",
            "Gauge of number of concurrent in-progress calls",
            ["auth"],
            registry=registry,
        )
        self._pack_queued = Gauge(
            "gitaly_pack_objects_queued",
            "Gauge of number of queued calls",
            ["auth"],
            registry=registry,
        )
        self._pack_dropped = Counter(
            "gitaly_pack_objects_dropped_total",
            "Number of requests dropped from the queue",
            ["auth", "reason"],
            registry=registry,
        )
        self._pack_acquiring = _seconds(
            "gitaly_pack_objects_acquiring_seconds", ["auth"], buckets, registry
        )

    def per_rpc(self, rpc: str, *, authenticated: bool) -> Monitor:
        """For the limit of a method, "/gitaly.Service/Method". Its series exist from now on."""
        service, _, method = rpc.removeprefix("/").partition("/")
        values = ("gitaly", service, method)
        said = "true" if authenticated else "false"
        name = name_of(rpc, authenticated=authenticated)
        return Monitor(
            kind=PER_RPC,
            name=name,
            authenticated=said,
            in_progress=self._in_progress.labels(*values),
            queued=self._queued.labels(*values),
            acquiring=self._acquiring.labels(*values),
            dropped=lambda reason: self._dropped.labels(*values, reason, said),
            most_wanted=self._own.most_wanted.labels(name),
            keys=self._own.keys.labels(name),
            shadow_queued=self._own.shadow_queued.labels(name),
            shadow_dropped=lambda reason: self._own.shadow_dropped.labels(name, reason),
        )

    def pack_objects(self, *, authenticated: bool) -> Monitor:
        """For the limit of pack-objects."""
        auth = "authenticated" if authenticated else "unauthenticated"
        name = pack_objects_name(authenticated=authenticated)
        return Monitor(
            kind=PACK_OBJECTS,
            name=name,
            authenticated="",
            in_progress=self._pack_in_progress.labels(auth),
            queued=self._pack_queued.labels(auth),
            acquiring=self._pack_acquiring.labels(auth),
            dropped=lambda reason: self._pack_dropped.labels(auth, reason),
            most_wanted=self._own.most_wanted.labels(name),
            keys=self._own.keys.labels(name),
            shadow_queued=self._own.shadow_queued.labels(name),
            shadow_dropped=lambda reason: self._own.shadow_dropped.labels(name, reason),
        )


def _seconds(
    name: str, labels: Sequence[str], buckets: Sequence[float], registry: CollectorRegistry
) -> Histogram:
    """No buckets of the operator's: the library's own."""
    return Histogram(
        name,
        "Histogram of time calls are rate limited (in seconds)",
        labels,
        buckets=tuple(buckets) or Histogram.DEFAULT_BUCKETS,
        registry=registry,
    )
