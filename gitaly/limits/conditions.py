"""When a control group is in trouble. Decides on readings that are handed in, with their times.

Source: Gitaly, internal/limiter/condition_*.go, internal/burdenmonitor/conditions.go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gitaly.limits.usage import ParentUsage, pressures_of

CPU: Final = "CgroupCpu"
MEMORY: Final = "CgroupMemory"
PRESSURE: Final = "CgroupPressure"
THROTTLED: Final = "condition_cpu_throttling"
UNDER_OOM: Final = "condition_memory_oom"
MUCH_ANON: Final = "condition_memory_anon"
PRESSURE_CRITICAL: Final = "condition_psi_critical"
PRESSURE_BACKOFF: Final = "condition_psi_backoff"
OOM_KILL: Final = "LoadShedderOOMKill"


class Level(Enum):
    """How bad a pressure is, in the words of the log."""

    WARNING = "PSI pressure above warning threshold"
    BACKOFF = "PSI pressure at backoff threshold"
    CRITICAL = "Critical PSI pressure detected"


@dataclass(frozen=True, slots=True)
class Reading:
    """The usage of the control group at a time, in monotonic seconds."""

    at: float
    usage: ParentUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that should make limits fall, or calls be shed."""

    condition: str  # CPU, MEMORY or PRESSURE for limits
    reason: str
    stats: Mapping[str, object]  # what it was seen by, for the log


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureThresholds:
    """Percentages of stalled time."""

    warning: float
    backoff: float
    critical: float
    sustain_seconds: float  # how long it must be above `backoff`
    fast_fall_ratio: float  # below this share of the reading before, it is left to fall by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When to back off. A resource that `pressures` does not name is not watched."""

    throttled_ratio: float = 0.5  # of the time between two readings
    anon_ratio: float = 0.6  # of the memory limit
    pressures: Mapping[str, PressureThresholds]


class Conditions:
    """Compares each reading with the one before."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._last: Reading | None = None
        self._high_since: dict[str, float] = {}  # by resource: when the pressure reached backoff

    def adopt(self, thresholds: Thresholds) -> None:
        """Others from the next reading on; how long a pressure has lasted is remembered."""
        self._thresholds = thresholds

    def judge(self, reading: Reading) -> list[Event]:
        """What is wrong now. The first reading alone says nothing of the CPU."""
        last, self._last = self._last, reading
        stats = stats_of(reading.usage)
        events = [*self._memory(reading.usage, stats), *self._pressure(last, reading, stats)]
        if last is not None:
            events += self._cpu(last, reading, stats)
        return events

    def _cpu(self, last: Reading, reading: Reading, stats: Mapping[str, object]) -> Iterator[Event]:
        seconds = reading.at - last.at
        throttled = reading.usage.throttled_seconds - last.usage.throttled_seconds
        if throttled < 0 or seconds <= 0:  # the counters have been reset
            return
        threshold = self._thresholds.throttled_ratio
        if throttled / seconds > threshold:
            more = {
                "stats.time_diff": round(seconds, 3),
                "stats.throttled_duration": round(throttled, 3),
                "stats.throttled_threshold": threshold,
            }
            yield Event(condition=CPU, reason=THROTTLED, stats={**stats, **more})

    def _memory(self, usage: ParentUsage, stats: Mapping[str, object]) -> Iterator[Event]:
        threshold = self._thresholds.anon_ratio
        more = {**stats, "stats.memory_threshold": threshold}
        if usage.is_under_oom:
            yield Event(condition=MEMORY, reason=UNDER_OOM, stats=more)
        elif (
            usage.memory_limit_bytes
            and usage.anonymous_bytes / usage.memory_limit_bytes >= threshold
        ):
            yield Event(condition=MEMORY, reason=MUCH_ANON, stats=more)

    def _pressure(
        self, last: Reading | None, reading: Reading, stats: Mapping[str, object]
    ) -> Iterator[Event]:
        """Critical pressure counts at once; a lesser one must last, and not be falling already."""
        now = pressures_of(reading.usage)
        before = pressures_of(last.usage) if last is not None else {}
        for resource, thresholds in self._thresholds.pressures.items():
            percent = now.get(resource)
            if percent is None:
                continue
            more = {**stats, "stats.psi_resource": resource}
            if percent < thresholds.backoff:
                self._high_since.pop(resource, None)
                continue
            since = self._high_since.setdefault(resource, reading.at)
            if percent >= thresholds.critical:
                yield Event(condition=PRESSURE, reason=PRESSURE_CRITICAL, stats=more)
            elif reading.at - since >= thresholds.sustain_seconds and (
                percent >= before.get(resource, 0.0) * thresholds.fast_fall_ratio
            ):
                yield Event(condition=PRESSURE, reason=PRESSURE_BACKOFF, stats=more)


def pressure_levels(usage: ParentUsage, thresholds: Thresholds) -> Iterator[tuple[str, Level]]:
    """The resources whose pressure deserves a line in the log, each with how bad it is."""
    found = pressures_of(usage)
    for resource, limits in thresholds.pressures.items():
        percent = found.get(resource)
        if percent is None or percent < limits.warning:
            continue
        if percent >= limits.critical:
            yield resource, Level.CRITICAL
        elif percent >= limits.backoff:
            yield resource, Level.BACKOFF
        else:
            yield resource, Level.WARNING


def critical(last: ParentUsage | None, usage: ParentUsage, thresholds: Thresholds) -> Event | None:
    """Why load must be shed now; None: it need not."""
    found = pressures_of(usage)
    for resource, limits in thresholds.pressures.items():
        percent = found.get(resource)
        if percent is not None and percent >= limits.critical:
            return Event(
                condition=f"LoadShedderPSI/{resource}",
                reason="loadshedder_psi_critical",
                stats=stats_of(usage),
            )
    if last is not None and usage.oom_kills > last.oom_kills:
        return Event(condition=OOM_KILL, reason="loadshedder_oom_kill", stats=stats_of(usage))
    return None


def stats_of(usage: ParentUsage) -> dict[str, object]:
    """A reading as log fields."""
    found: dict[str, object] = {
        "stats.memory_usage": usage.memory_bytes,
        "stats.memory_limit": usage.memory_limit_bytes or 0,
        "stats.inactive_file": usage.inactive_file_bytes,
        "stats.anon": usage.anonymous_bytes,
        "stats.anon_ratio": round(_anonymous_ratio(usage), 3),
        "stats.oom_kills": usage.oom_kills,
    }
    for resource, percent in pressures_of(usage).items():
        found[f"stats.{resource}_pressure_some_avg60"] = percent
    return found


def _anonymous_ratio(usage: ParentUsage) -> float:
    limit = usage.memory_limit_bytes
    return usage.anonymous_bytes / limit if limit else 0.0
