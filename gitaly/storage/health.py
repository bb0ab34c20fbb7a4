"""From looks at a storage to a verdict on it, which does not change with every look.

Two bad looks in a row make a storage unhealthy, three good ones make it healthy again. A file
system that is about to be full would turn with every temporary file, so there the border of
coming back is twice as far as that of falling.
"""

from dataclasses import dataclass, replace
from typing import Final

from gitaly.storage.probe import Probe, Problem, Space

BAD_LOOKS: Final = 2
GOOD_LOOKS: Final = 3
LEAST_BYTES: Final = 16 << 20  # below it even a small push may fail half-way
LEAST_INODES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a storage is looked at."""

    calm_seconds: float = 5.0  # between looks, when all is as it was
    suspicious_seconds: float = 1.0  # when the last look told something new
    patience_seconds: float = 5.0  # for a look that does not end


USUAL: Final = Pace()


class Health:
    """The verdict on one storage. Decides; never looks."""

    def __init__(self, pace: Pace = USUAL) -> None:
        self._pace = pace
        self.problem: Problem | None = None
        self.error = ""
        self.space = Space()
        self.probe_seconds = 0.0
        self.since: float | None = None  # when the verdict was reached; None: there is none yet
        self._differing = 0  # looks in a row that do not say what the verdict says

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next look."""
        pace = self._pace
        return pace.suspicious_seconds if self._differing else pace.calm_seconds

    def observe(self, probe: Probe, now: float) -> bool:
        """Take a look into account; whether the verdict has changed. The first one counts."""
        self.probe_seconds = probe.seconds
        if probe.space is not None:
            self.space = probe.space
        probe = self._with_borders(probe)
        if self.since is not None and probe.problem == self.problem:
            self._differing = 0
            return False
        self._differing += 1
        needed = BAD_LOOKS if probe.problem else GOOD_LOOKS
        if self.since is not None and self._differing < needed:
            return False
        self.problem, self.error = probe.problem, probe.error
        self.since, self._differing = now, 0
        return True

    def _with_borders(self, probe: Probe) -> Probe:
        """The same look; if it is good, but too little is left, a bad one."""
        space = probe.space
        if probe.problem is not None or space is None:
            return probe
        factor = 2 if self.problem in (Problem.NO_SPACE, Problem.NO_INODES) else 1
        if space.available_bytes < LEAST_BYTES * factor:
            mebibytes = space.available_bytes / (1 << 20)
            text = f"{mebibytes:.1f} MiB are left"
            return replace(probe, problem=Problem.NO_SPACE, error=text)
        if space.inodes and space.available_inodes < LEAST_INODES * factor:
            text = f"{space.available_inodes} inodes are left"
            return replace(probe, problem=Problem.NO_INODES, error=text)
        return probe
