"""Readings of a control group, written by hand."""

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Usage:
    throttled_seconds: float = 0.0
    memory_limit_bytes: int | None = GIB
    memory_bytes: int = GIB // 4
    anonymous_bytes: int = GIB // 8
    inactive_file_bytes: int = 0
    is_under_oom: bool = False
    oom_kills: int = 0
    memory_pressure: float | None = None
    io_pressure: float | None = None
    cpu_pressure: float | None = None
