"""Readings of a control group, written by hand."""

from collections.abc import Mapping
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class FixedPressure:
    some_avg60: float


@dataclass(frozen=True, kw_only=True)
class Usage:
    throttled_seconds: float = 0.0
    memory_limit: int | None = GIB
    memory_usage: int = GIB // 4
    memory_anon: int = GIB // 8
    memory_inactive_file: int = 0
    under_oom: bool = False
    oom_kills: int = 0
    pressure: Mapping[str, FixedPressure] | None = None


def pressed(resource: str, percent: float) -> Usage:
    return Usage(pressure={resource: FixedPressure(percent)})
