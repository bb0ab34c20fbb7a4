"""What the kernel tells of a group, in the same words for both versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Pressure = Mapping[tuple[str, str], float]  # percent, by ("some" | "full", "avg10" | "avg60" | …)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """One group at one moment. None: this kernel, version or group does not say."""

    memory_bytes: int | None = None  # in use, page cache included
    memory_limit_bytes: int | None = None
    memory_peak_bytes: int | None = None
    anonymous_bytes: int | None = None
    active_file_bytes: int | None = None
    inactive_file_bytes: int | None = None
    is_under_oom: bool = False
    oom_kills: int | None = None  # in it and in the groups below
    limit_hits: int | None = None  # how often the memory limit stood in the way
    ooms: int | None = None  # v2: how often this very limit has left no way but to kill
    cpu_user: int | None = None  # nanoseconds on v1, microseconds on v2, as the metrics have it
    cpu_kernel: int | None = None
    cpu_periods: int | None = None
    cpu_throttled_periods: int | None = None
    cpu_throttled_seconds: float | None = None
    processes: Mapping[str, int] = field(default_factory=dict)  # by controller
    memory_events: Mapping[str, int] = field(default_factory=dict)  # v2: high, max, oom
    page_faults: int | None = None  # v2
    major_page_faults: int | None = None
    memory_pressure: Pressure = field(default_factory=dict)  # v2
    io_pressure: Pressure = field(default_factory=dict)
    cpu_pressure: Pressure = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentUsage:
    """What limits that adapt themselves want to know of all git processes together."""

    throttled_seconds: float  # since the group exists
    memory_limit_bytes: int | None  # None: no limit
    memory_bytes: int
    anonymous_bytes: int
    inactive_file_bytes: int
    is_under_oom: bool
    oom_kills: int  # since the group exists
    memory_pressure: float | None  # percent of the last minute in which somebody stalled ("some")
    io_pressure: float | None
    cpu_pressure: float | None


def parent_usage(found: Statistics) -> ParentUsage:
    """The part of the statistics that matters for it."""
    some = ("some", "avg60")
    return ParentUsage(
        throttled_seconds=found.cpu_throttled_seconds or 0.0,
        memory_limit_bytes=found.memory_limit_bytes,
        memory_bytes=found.memory_bytes or 0,
        anonymous_bytes=found.anonymous_bytes or 0,
        inactive_file_bytes=found.inactive_file_bytes or 0,
        is_under_oom=found.is_under_oom,
        oom_kills=found.oom_kills or 0,
        memory_pressure=found.memory_pressure.get(some),
        io_pressure=found.io_pressure.get(some),
        cpu_pressure=found.cpu_pressure.get(some),
    )
