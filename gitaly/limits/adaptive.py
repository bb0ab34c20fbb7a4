"""Limits that move with the load: up by one while all is well, down to half when it is not.

Source: Gitaly, internal/limiter/adaptive_{calculator,limit}.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gitaly.limits.conditions import Event
from gitaly.limits.limiter import Limiter

CALIBRATION_SECONDS: Final = 30.0
BACKOFF_FACTOR: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveLimit:
    """A limiter that starts with its `initial` limit and moves between `minimum` and `maximum`."""

    name: str  # as in gitaly_concurrency_limiting_current_limit
    limiter: Limiter
    minimum: int
    maximum: int

    def after(self, *, backs_off: bool) -> int:
        """The next limit."""
        if backs_off:
            return max(self.minimum, int(self.limiter.limit * BACKOFF_FACTOR))
        return min(self.maximum, self.limiter.limit + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one limit has moved."""

    name: str
    previous: int
    new: int
    event: Event | None  # why it fell; None: it rose


class Calibrator:
    """Remembers events until the next calibration, which moves all limits together.

    Trouble seldom comes alone: memory pressure is CPU and I/O pressure too. So limits fall once,
    however many events there were.
    """

    def __init__(self, limits: Sequence[AdaptiveLimit]) -> None:
        self.limits = limits
        self._event: Event | None = None

    def note(self, event: Event) -> None:
        """Something is wrong."""
        self._event = event

    def calibrate(self) -> list[Change]:
        """Move all limits."""
        event, self._event = self._event, None
        changes = []
        for limit in self.limits:
            previous, new = limit.limiter.limit, limit.after(backs_off=event is not None)
            limit.limiter.resize(new)
            changes.append(Change(name=limit.name, previous=previous, new=new, event=event))
        return changes
