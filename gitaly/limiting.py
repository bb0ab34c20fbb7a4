"""The limits of a node, made from its configuration."""

from collections.abc import AsyncIterator, Container, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from gitaly.config import Config, LimitsConfig, PressureConfig
from gitaly.limits import (
    AdaptiveLimit,
    AdaptiveMetrics,
    Calibrator,
    FindBurdens,
    Limiter,
    LimitMetrics,
    LoadShedder,
    MethodLimits,
    Monitor,
    PackObjectsLimiter,
    PressureThresholds,
    ReadUsage,
    Rule,
    Thresholds,
    Watch,
)
from gitaly.observe.log import Logger
from gitaly.observe.snapshot import QueueState
from gitaly.tasks import background

REPLICATE: Final = "/gitaly.RepositoryService/ReplicateRepository"
DEFAULT_THRESHOLD: Final = Thresholds(pressures={})
NOTHING_TO_WATCH: Final = (
    "adaptive limits and load shedding watch the node's control group, and there is none:"
    " limits only rise, and no load is shed; configure [cgroups]"
)


class Limiting:
    """Every queue of a node, and what moves the limits."""

    def __init__(self, config: Config, registry: CollectorRegistry, logger: Logger) -> None:
        self._config = config
        self._registry = registry
        self._logger = logger
        self._adaptive: list[AdaptiveLimit] = []
        metrics = LimitMetrics(registry, config.prometheus.grpc_latency_buckets)
        self.methods: Mapping[str, MethodLimits] = dict(self._methods(metrics))
        self.pack_objects = PackObjectsLimiter(self._pack_objects(metrics))

    def state(self) -> tuple[QueueState, ...]:
        """Every queue at this moment, for any thread."""
        tables = [*self.methods.values(), self.pack_objects.limits]
        return tuple(limiter.state() for limits in tables for limiter in limits)

    def warn_of_unknown(self, methods: Container[str]) -> None:
        """Tell the operator of tables about methods that the node does not have: misspelt ones."""
        unknown = [rpc for rpc in self.methods if rpc not in methods]
        if unknown:
            self._logger.warning(
                "limits of unknown methods have no effect", rpcs=", ".join(sorted(unknown))
            )

    @asynccontextmanager
    async def moving(
        self, read_usage: ReadUsage | None, find_burdens: FindBurdens | None
    ) -> AsyncIterator[None]:
        """Move adaptive limits and shed load during the block, if the operator wants either.

        `read_usage` None: there is no control group to watch, so nothing ever goes wrong.
        `find_burdens` None: load is not shed.
        """
        if not self._adaptive and find_burdens is None:
            yield
            return
        if read_usage is None:
            self._logger.warning(NOTHING_TO_WATCH)
        shedder = None
        if find_burdens is not None:
            shedder = LoadShedder(find_burdens, self._registry, self._logger)
        watch = Watch(
            read_usage or _no_usage,
            thresholds_of(self._config),
            Calibrator(self._adaptive),
            metrics=AdaptiveMetrics(self._registry) if self._adaptive else None,
            shedder=shedder,
            logger=self._logger,
        )
        async with background(watch.run()):
            yield

    def _methods(self, metrics: LimitMetrics) -> Iterator[tuple[str, MethodLimits]]:
        """Two tables about one method: the last one counts."""
        tables = {table.rpc: table for table in self._config.concurrency}
        for rpc, table in tables.items():
            without_name = None
            if _limits(table.unauthenticated):
                monitor = metrics.per_rpc(rpc, authenticated=False)
                without_name = self._limiter(table.unauthenticated, monitor)
            monitor = metrics.per_rpc(rpc, authenticated=True)
            yield (
                rpc,
                MethodLimits(
                    authenticated=self._limiter(table, monitor) if _limits(table) else None,
                    unauthenticated=without_name,
                ),
            )
        if REPLICATE not in tables:  # two at once would write to the same new repository
            one = Limiter(Rule(concurrency=1), metrics.per_rpc(REPLICATE, authenticated=True))
            yield REPLICATE, MethodLimits(authenticated=one)

    def _pack_objects(self, metrics: LimitMetrics) -> MethodLimits:
        table = self._config.pack_objects_limiting
        monitor = metrics.pack_objects(authenticated=True)
        without_name = None
        if _limits(table.unauthenticated):
            unnamed = metrics.pack_objects(authenticated=False)
            without_name = self._limiter(table.unauthenticated, unnamed)
        return MethodLimits(
            authenticated=self._limiter(table, monitor) if _limits(table) else None,
            unauthenticated=without_name,
        )

    def _limiter(self, table: LimitsConfig, monitor: Monitor) -> Limiter:
        rule = Rule(
            concurrency=table.initial_limit if table.adaptive else table.concurrency,
            queue_size=max(0, table.max_queue_size),
            queue_wait_seconds=max(0.0, table.max_queue_wait.total_seconds()),
            shadow=table.shadow,
        )
        limiter = Limiter(rule, monitor)
        if table.adaptive:
            adaptive = AdaptiveLimit(
                name=monitor.name,
                limiter=limiter,
                minimum=max(1, table.min_limit),
                maximum=table.max_limit,
            )
            self._adaptive.append(adaptive)
        return limiter


async def _no_usage() -> None:
    return None


def _limits(table: LimitsConfig) -> bool:
    return (table.initial_limit if table.adaptive else table.concurrency) > 0


def thresholds_of(config: Config) -> Thresholds:
    """When adaptive limits back off; 0 in the configuration means the default."""
    adaptive = config.adaptive_limiting
    pressures: dict[str, PressureConfig] = {
        "memory": adaptive.psi_pressure.memory,
        "io": adaptive.psi_pressure.io,
        "cpu": adaptive.psi_pressure.cpu,
    }
    return Thresholds(
        throttled_ratio=adaptive.cpu_throttled_threshold
        if adaptive.cpu_throttled_threshold > 0
        else DEFAULT_THRESHOLD.throttled_ratio,
        anon_ratio=adaptive.memory_threshold
        if adaptive.memory_threshold > 0
        else DEFAULT_THRESHOLD.anon_ratio,
        pressures={
            name: PressureThresholds(
                warning=pressure.warning_threshold,
                backoff=pressure.backoff_threshold,
                critical=pressure.critical_threshold,
                sustain_seconds=pressure.sustain_duration_seconds,
                fast_fall_ratio=pressure.fast_fall_ratio,
            )
            for name, pressure in pressures.items()
            if pressure.enabled
        },
    )
