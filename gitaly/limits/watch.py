"""Reads the node's control group again and again; moves adaptive limits and sheds load by it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from gitaly.limits.adaptive import CALIBRATION_SECONDS, AdaptiveLimit, Calibrator
from gitaly.limits.conditions import (
    Conditions,
    Level,
    Reading,
    Thresholds,
    critical,
    pressure_levels,
    stats_of,
)
from gitaly.limits.shedder import LoadShedder
from gitaly.limits.usage import ParentUsage, ReadUsage
from gitaly.observe.log import Logger

POLL_SECONDS: Final = 10.0

Sleep = Callable[[float], Awaitable[None]]


class AdaptiveMetrics:
    """The series of adaptive limits; made only where a limit is adaptive, as in Gitaly."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.current = Gauge(
            "gitaly_concurrency_limiting_current_limit",
            "The current limit value of an adaptive concurrency limit",
            ["limit"],
            registry=registry,
        )
        self.backoffs = Counter(
            "gitaly_concurrency_limiting_backoff_events_total",
            "Counter of the total number of backoff events",
            ["watcher"],
            registry=registry,
        )


class Watch:
    """Polls every 10 s and calibrates every 30 s, for as long as `run` runs."""

    def __init__(
        self,
        read_usage: ReadUsage,
        thresholds: Thresholds,
        calibrator: Calibrator,
        *,
        metrics: AdaptiveMetrics | None,  # None: no limit is adaptive
        shedder: LoadShedder | None,  # None: no load is shed
        logger: Logger,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._read_usage = read_usage
        self._thresholds = thresholds
        self._conditions = Conditions(thresholds)
        self._calibrator = calibrator
        self._metrics = metrics
        self._shedder = shedder
        self._logger = logger
        self._clock = clock
        self._sleep = sleep
        self._last: ParentUsage | None = None
        self._failed = False
        self._has_work = asyncio.Event()
        self._show()

    def adopt(
        self,
        thresholds: Thresholds,
        limits: Sequence[AdaptiveLimit],
        *,
        metrics: AdaptiveMetrics | None,
        shedder: LoadShedder | None,
    ) -> None:
        """Other things to move, by other thresholds, from the next reading on."""
        if self._metrics is not None:
            kept = {limit.name for limit in limits}
            for limit in self._calibrator.limits:
                if limit.name not in kept:
                    self._metrics.current.remove(limit.name)
        self._thresholds = thresholds
        self._conditions.adopt(thresholds)
        self._calibrator.limits = limits
        self._metrics, self._shedder = metrics, shedder
        self._show()

    def _show(self) -> None:
        if self._calibrator.limits or self._shedder is not None:
            self._has_work.set()
        else:
            self._has_work.clear()
        if self._metrics is not None:
            for limit in self._calibrator.limits:
                self._metrics.current.labels(limit.name).set(limit.limiter.limit)

    async def run(self) -> None:
        """Never ends by itself. A reading that fails is no event, and never the end."""
        try:
            await self._run()
        except Exception as error:
            self._logger.error("limits no longer move", error=f"{type(error).__name__}: {error}")
            raise

    async def _run(self) -> None:
        next_calibration = self._clock() + CALIBRATION_SECONDS
        while True:
            if not self._has_work.is_set():
                await self._has_work.wait()
                self._last = None
                next_calibration = self._clock() + CALIBRATION_SECONDS
            await self._poll()
            if self._clock() >= next_calibration:
                self._calibrate()
                next_calibration = self._clock() + CALIBRATION_SECONDS
            await self._sleep(max(0.0, min(POLL_SECONDS, next_calibration - self._clock())))

    async def _poll(self) -> None:
        try:
            usage = await self._read_usage()
        except (OSError, ValueError) as error:  # a file that is gone, or says what nobody expects
            if not self._failed:  # once, not every ten seconds
                self._logger.warning("cannot read the node's control group", error=str(error))
            self._failed = True
            return
        self._failed = False
        if usage is None:
            return
        last, self._last = self._last, usage
        now = self._clock()
        self._log_pressure(usage)
        for event in self._conditions.judge(Reading(now, usage)):
            self._calibrator.note(event)
            if self._metrics is not None:
                self._metrics.backoffs.labels(event.condition).inc()
        emergency = critical(last, usage, self._thresholds)
        if emergency is not None and self._shedder is not None:
            await self._shedder.shed(emergency, now)

    def _log_pressure(self, usage: ParentUsage) -> None:
        for resource, level in pressure_levels(usage, self._thresholds):
            log = self._logger.error if level is Level.CRITICAL else self._logger.warning
            log(level.value, psi_resource=resource, **stats_of(usage))

    def _calibrate(self) -> None:
        for change in self._calibrator.calibrate():
            if self._metrics is not None:
                self._metrics.current.labels(change.name).set(change.new)
            fields: dict[str, object] = {
                "limit_rpc": change.name,
                "previous_limit": change.previous,
                "new_limit": change.new,
            }
            if change.event is None:
                self._logger.debug("Additive increase", **fields)
                continue
            fields |= {"condition": change.event.condition, "watcher": change.event.condition}
            fields |= {"reason": change.event.reason, **change.event.stats}
            self._logger.info("Multiplicative decrease", **fields)
