"""How many calls may run at once, and who waits: queues, adaptive limits, load shedding."""

from gitaly.limits.adaptive import AdaptiveLimit, Calibrator
from gitaly.limits.conditions import PressureThresholds, Thresholds
from gitaly.limits.limiter import WAITED_TOO_LONG, LeftQueue, Limiter, Refused, Rule, Turn
from gitaly.limits.metrics import LimitMetrics, Monitor
from gitaly.limits.pack_objects import PackObjectsLimiter
from gitaly.limits.per_rpc import MethodLimits
from gitaly.limits.shedder import Burden, FindBurdens, LoadShedder
from gitaly.limits.usage import ReadUsage
from gitaly.limits.watch import AdaptiveMetrics, Watch

__all__ = [
    "WAITED_TOO_LONG",
    "AdaptiveLimit",
    "AdaptiveMetrics",
    "Burden",
    "Calibrator",
    "FindBurdens",
    "LeftQueue",
    "LimitMetrics",
    "Limiter",
    "LoadShedder",
    "MethodLimits",
    "Monitor",
    "PackObjectsLimiter",
    "PressureThresholds",
    "ReadUsage",
    "Refused",
    "Rule",
    "Thresholds",
    "Turn",
    "Watch",
]
