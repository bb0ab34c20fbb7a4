"""What the metrics endpoint says of groups and of the spawning in them.

Names and labels as Gitaly's; what it has not (the split of memory, kills) has names of our own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gitaly.cgroups.groups import Groups
from gitaly.cgroups.statistics import Statistics

Family = CounterMetricFamily | GaugeMetricFamily
Samples = Iterable[tuple[tuple[str, ...], float | None]]  # further labels, value
Source = Callable[[Statistics], Samples]
WAIT_BUCKETS: Final = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


class SpawnMetrics:
    """The queue before spawning, and the processes that do it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queued = Gauge(
            "gitaly_spawn_queued", "Commands that wait for their spawner", registry=registry
        )
        self._spawners = Gauge(
            "gitaly_spawner_processes", "Spawner processes that run", registry=registry
        )
        self._waiting = Histogram(
            "gitaly_spawn_waiting_seconds",
            "Time from the wish for a command to the order given to a spawner",
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "gitaly_spawn_refused_total",
            "Commands refused because too many waited, or for too long",
            registry=registry,
        )
        self._stopped = Counter(
            "gitaly_cgroup_commands_stopped_total",
            "Commands that failed because the kernel killed them for want of memory",
            ["limit"],
            registry=registry,
        )
        for limit in ("repository", "parent", "machine"):
            self._stopped.labels(limit)  # from 0 on: an alert sees no increase of a series' birth
        self._lost = Counter(
            "gitaly_spawner_processes_lost_total",
            "Spawner processes that died under the node",
            registry=registry,
        )

    def watch(self, queued: Callable[[], int], spawners: Callable[[], int]) -> None:
        """From where the gauges are read."""
        self._queued.set_function(queued)
        self._spawners.set_function(spawners)

    def waited(self, seconds: float) -> None:
        self._waiting.observe(seconds)

    def refused(self) -> None:
        self._refused.inc()

    def stopped(self, limit: str) -> None:
        """A command has failed of a limit: "repository", "parent" or "machine"."""
        self._stopped.labels(limit).inc()

    def lost(self) -> None:
        self._lost.inc()


def _one(value: float | None) -> Samples:
    return (((), value),)


def _by(values: Mapping[str, float]) -> Samples:
    return (((name,), value) for name, value in values.items())


def _pressure(values: Mapping[tuple[str, str], float]) -> Samples:
    return values.items()


# Families: kind, name, help, further labels, and where the values come from.
COUNTERS: Final[tuple[tuple[str, str, tuple[str, ...], Source], ...]] = (
    (
        "gitaly_cgroup_memory_reclaim_attempts",
        "How often the memory limit stood in the way (v1)",
        (),
        lambda s: _one(None if s.memory_events else s.limit_hits),
    ),
    (
        "gitaly_cgroup_cpu_usage",
        "CPU time: nanoseconds on v1, microseconds on v2",
        ("type",),
        lambda s: ((("user",), s.cpu_user), (("kernel",), s.cpu_kernel)),
    ),
    (
        "gitaly_cgroup_cpu_cfs_periods",
        "Periods of the CPU quota",
        (),
        lambda s: _one(s.cpu_periods),
    ),
    (
        "gitaly_cgroup_cpu_cfs_throttled_periods",
        "Periods in which the CPU quota was used up",
        (),
        lambda s: _one(s.cpu_throttled_periods),
    ),
    (
        "gitaly_cgroup_cpu_cfs_throttled_seconds",
        "Time for which processes stood still because of the quota",
        (),
        lambda s: _one(s.cpu_throttled_seconds),
    ),
    (
        "gitaly_cgroup_memory_events_high",
        "Throttlings above memory.high (v2)",
        (),
        lambda s: _one(s.memory_events.get("high")),
    ),
    (
        "gitaly_cgroup_memory_events_max",
        "How often the memory limit stood in the way (v2)",
        (),
        lambda s: _one(s.memory_events.get("max")),
    ),
    (
        "gitaly_cgroup_memory_events_oom",
        "How often memory could not be had (v2)",
        (),
        lambda s: _one(s.memory_events.get("oom")),
    ),
    ("gitaly_cgroup_memory_pgfault", "Page faults (v2)", (), lambda s: _one(s.page_faults)),
    (
        "gitaly_cgroup_memory_pgmajfault",
        "Page faults that read from disk (v2)",
        (),
        lambda s: _one(s.major_page_faults),
    ),
    (
        "gitaly_cgroup_oom_kills",
        "Processes that the kernel has killed for want of memory",
        (),
        lambda s: _one(s.oom_kills),
    ),
)
GAUGES: Final[tuple[tuple[str, str, tuple[str, ...], Source], ...]] = (
    (
        "gitaly_cgroup_procs_total",
        "Processes in the group, spawners of the node included",
        ("subsystem",),
        lambda s: _by(s.processes),
    ),
    (
        "gitaly_cgroup_memory_pressure_percent",
        "Time stalled on memory (v2)",
        ("type", "window"),
        lambda s: _pressure(s.memory_pressure),
    ),
    (
        "gitaly_cgroup_io_pressure_percent",
        "Time stalled on input and output (v2)",
        ("type", "window"),
        lambda s: _pressure(s.io_pressure),
    ),
    (
        "gitaly_cgroup_cpu_pressure_percent",
        "Time stalled on CPU (v2)",
        ("type", "window"),
        lambda s: _pressure(s.cpu_pressure),
    ),
    (
        "gitaly_cgroup_memory_bytes",
        "Memory in use by kind: anon is what processes hold, the files are page cache",
        ("type",),
        lambda s: (
            (("anon",), s.anonymous_bytes),
            (("active_file",), s.active_file_bytes),
            (("inactive_file",), s.inactive_file_bytes),
        ),
    ),
    (
        "gitaly_cgroup_memory_usage_bytes",
        "Memory in use, page cache included",
        (),
        lambda s: _one(s.memory_bytes),
    ),
    (
        "gitaly_cgroup_memory_limit_bytes",
        "The memory limit, where there is one",
        (),
        lambda s: _one(s.memory_limit_bytes),
    ),
    (
        "gitaly_cgroup_memory_peak_bytes",
        "The most memory that was in use",
        (),
        lambda s: _one(s.memory_peak_bytes),
    ),
)


class CgroupCollector(Collector):
    """Reads the groups when the endpoint is asked, some 0.1 ms for each, not on the event loop."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def collect(self) -> Iterator[Family]:
        """One series for each group that exists, and for their parent."""
        paths = [self._groups.parent_path, *(group.path for group in self._groups.groups())]
        found = [(path, self._groups.hierarchy.statistics(path)) for path in paths]
        for table, family in ((COUNTERS, CounterMetricFamily), (GAUGES, GaugeMetricFamily)):
            for name, text, labels, source in table:
                metric: Family = family(name, text, labels=["path", *labels])
                for path, statistics in found:
                    for values, value in source(statistics):
                        if value is not None:
                            metric.add_metric([path, *values], value)
                yield metric

    def describe(self) -> Iterator[Family]:
        """Without asking the kernel."""
        for table, family in ((COUNTERS, CounterMetricFamily), (GAUGES, GaugeMetricFamily)):
            for name, text, labels, _ in table:
                yield family(name, text, labels=["path", *labels])
