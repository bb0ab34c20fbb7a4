"""The limits of a node, made from its configuration."""

import sys
from collections.abc import AsyncIterator, Container, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry

from gitaly.config import ConcurrencyConfig, Config, LimitsConfig, PressureConfig
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
UNLIMITED: Final = Rule(concurrency=sys.maxsize)
DEFAULT_THRESHOLD: Final = Thresholds(pressures={})
NOTHING_TO_WATCH: Final = (
    "adaptive limits and load shedding watch the node's control group, and there is none:"
    " limits only rise, and no load is shed; configure [cgroups]"
)


class Limiting:
    """Every queue of a node, and what moves the limits. Takes other limits while calls run."""

    def __init__(self, config: Config, registry: CollectorRegistry, logger: Logger) -> None:
        self._config = config
        self._registry = registry
        self._logger = logger
        self._limiters = _Limiters(LimitMetrics(registry, config.prometheus.grpc_latency_buckets))
        self._methods: dict[str, MethodLimits] = {}
        self.methods: Mapping[str, MethodLimits] = MappingProxyType(self._methods)
        self.pack_objects = PackObjectsLimiter(MethodLimits(authenticated=None))
        self._known_methods: Container[str] | None = None
        self._movement: _Movement | None = None
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Limit by another configuration from now on; nobody who runs or waits loses anything.

        A limit that was raised, or is gone, lets those in who wait; under one that was lowered the
        calls that are too many end what they do. A limit that stays adaptive stays where the load
        has brought it, as far as its new bounds allow.
        """
        self._config = config
        with self._limiters.changing():
            methods = dict(self._limits_of_methods())
            packs = config.pack_objects_limiting
            self.pack_objects.adopt(self._limiters.pair(None, packs, packs.unauthenticated))
        self._methods.clear()
        self._methods.update(methods)
        if self._movement is not None:
            self._movement.adopt(config, self._limiters.adaptive)
        if self._known_methods is not None:
            self.warn_of_unknown(self._known_methods)

    def state(self) -> tuple[QueueState, ...]:
        """Every queue at this moment, for any thread."""
        tables = [*self.methods.values(), self.pack_objects.limits]
        return tuple(limiter.state() for limits in tables for limiter in limits)

    def warn_of_unknown(self, methods: Container[str]) -> None:
        """Tell the operator of tables about methods that the node does not have: misspelt ones."""
        self._known_methods = methods
        unknown = [rpc for rpc in self.methods if rpc not in methods]
        if unknown:
            self._logger.warning(
                "limits of unknown methods have no effect", rpcs=", ".join(sorted(unknown))
            )

    @asynccontextmanager
    async def moving(
        self, read_usage: ReadUsage | None, find_burdens: FindBurdens
    ) -> AsyncIterator[None]:
        """Move adaptive limits and shed load during the block, while the operator wants either.

        `read_usage` None: there is no control group to watch, so nothing ever goes wrong.
        """
        self._movement = _Movement(read_usage, find_burdens, self._registry, self._logger)
        self._movement.adopt(self._config, self._limiters.adaptive)
        async with background(self._movement.run()):
            yield

    def _limits_of_methods(self) -> Iterator[tuple[str, MethodLimits]]:
        """Two tables about one method: the last one counts."""
        tables = {table.rpc: table for table in self._config.concurrency}
        # Two at once would write to the same new repository.
        tables.setdefault(REPLICATE, ConcurrencyConfig(rpc=REPLICATE, max_concurrency=1))
        for rpc, table in tables.items():
            yield rpc, self._limiters.pair(rpc, table, table.unauthenticated)


class _Limiters:
    """The limiters of a node. Each is made when it is wanted first, and kept for ever: calls may
    hold places in it when its table is gone, and shall be counted when the table comes back."""

    def __init__(self, metrics: LimitMetrics) -> None:
        self.adaptive: Sequence[AdaptiveLimit] = ()
        self._metrics = metrics
        self._made: dict[tuple[str | None, bool], Limiter] = {}
        self._wanted: set[Limiter] = set()
        self._now_adaptive: list[AdaptiveLimit] = []

    @contextmanager
    def changing(self) -> Iterator[None]:
        """What is not asked for in the block limits nobody afterwards."""
        self._wanted, self._now_adaptive = set(), []
        yield
        self.adaptive = self._now_adaptive
        for limiter in self._made.values():
            if limiter not in self._wanted:
                limiter.adopt(UNLIMITED)

    def pair(
        self, rpc: str | None, table: LimitsConfig, unauthenticated: LimitsConfig
    ) -> MethodLimits:
        """The limits of a method, or, without one, of pack-objects."""
        return MethodLimits(
            authenticated=self._limiter(rpc, table, authenticated=True),
            unauthenticated=self._limiter(rpc, unauthenticated, authenticated=False),
        )

    def _limiter(
        self, rpc: str | None, table: LimitsConfig, *, authenticated: bool
    ) -> Limiter | None:
        rule = _rule(table)
        if rule is None:
            return None
        limiter = self._made.get((rpc, authenticated))
        if limiter is None:
            limiter = Limiter(rule, self._monitor(rpc, authenticated=authenticated))
            self._made[rpc, authenticated] = limiter
        if table.adaptive:
            rule = self._adapt(limiter, rule, table)
        limiter.adopt(rule)
        self._wanted.add(limiter)
        return limiter

    def _monitor(self, rpc: str | None, *, authenticated: bool) -> Monitor:
        if rpc is None:
            return self._metrics.pack_objects(authenticated=authenticated)
        return self._metrics.per_rpc(rpc, authenticated=authenticated)

    def _adapt(self, limiter: Limiter, rule: Rule, table: LimitsConfig) -> Rule:
        """The rule where the limit is now, if it was adaptive before."""
        adaptive = AdaptiveLimit(
            name=limiter.monitor.name,
            limiter=limiter,
            minimum=max(1, table.min_limit),
            maximum=table.max_limit,
        )
        self._now_adaptive.append(adaptive)
        if all(former.limiter is not limiter for former in self.adaptive):
            return rule
        return replace(
            rule, concurrency=max(adaptive.minimum, min(adaptive.maximum, limiter.limit))
        )


class _Movement:
    """What moves limits and sheds load; each series appears when it is needed first, as in
    Gitaly."""

    def __init__(
        self,
        read_usage: ReadUsage | None,
        find_burdens: FindBurdens,
        registry: CollectorRegistry,
        logger: Logger,
    ) -> None:
        self._has_group = read_usage is not None
        self._find_burdens = find_burdens
        self._registry = registry
        self._logger = logger
        self._metrics: AdaptiveMetrics | None = None
        self._shedder: LoadShedder | None = None
        self._watch = Watch(
            read_usage or _no_usage,
            DEFAULT_THRESHOLD,
            Calibrator(()),
            metrics=None,
            shedder=None,
            logger=logger,
        )

    async def run(self) -> None:
        """Never ends by itself."""
        await self._watch.run()

    def adopt(self, config: Config, limits: Sequence[AdaptiveLimit]) -> None:
        """Move these limits by these thresholds from now on."""
        sheds = config.load_shedder.enabled
        if sheds and self._shedder is None:
            self._shedder = LoadShedder(self._find_burdens, self._registry, self._logger)
        if limits and self._metrics is None:
            self._metrics = AdaptiveMetrics(self._registry)
        if not self._has_group and (limits or sheds):
            self._logger.warning(NOTHING_TO_WATCH)
        self._watch.adopt(
            thresholds_of(config),
            limits,
            metrics=self._metrics,
            shedder=self._shedder if sheds else None,
        )


def _rule(table: LimitsConfig) -> Rule | None:
    """None: the table limits nobody."""
    concurrency = table.initial_limit if table.adaptive else table.concurrency
    if concurrency <= 0:
        return None
    return Rule(
        concurrency=concurrency,
        queue_size=max(0, table.max_queue_size),
        queue_wait_seconds=max(0.0, table.max_queue_wait.total_seconds()),
        shadow=table.shadow,
    )


async def _no_usage() -> None:
    return None


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
