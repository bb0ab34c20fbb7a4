"""What a node needs in order to work, and which of it is missing at the moment.

GitLab is not asked: a GitLab that is away stops pushes, but GitLab asks its nodes whether they are
ready, and each would wait for the other. Praefect, too, only calls health and ServerInfo.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final

from gitaly.services.health import HealthServicer
from gitaly.storage import Blocking, Patrol

Check = Callable[[], str]  # blocks; empty: it is well, else why not
LEAVING: Final = "the node is stopping: it takes no new calls"


class Readiness:
    """Asks everything that can be wrong, and says all of it."""

    def __init__(
        self,
        patrol: Patrol,
        health: HealthServicer,
        checks: Mapping[str, Check],
        blocking: Blocking,
    ) -> None:
        """`checks`: by the name that the caller is told; none of them may look at a storage."""
        self._patrol = patrol
        self._health = health
        self._checks = checks
        self._blocking = blocking

    async def failures(self) -> dict[str, str]:
        """What is wrong, by the name of the check; empty if the node is ready."""
        found = {"node": LEAVING} if self._health.is_draining else {}
        for storage, health in self._patrol.health.items():
            if health.problem is not None:
                text = f"{health.problem.value}: {health.error}"
                found[f'storage "{storage.name}"'] = text
        for name, check in self._checks.items():
            if text := await self._blocking.run(check):
                found[name] = text
        return found


def all_there(paths: Mapping[str, str]) -> Check:
    """Whether some paths exist. `paths`: to each what it is."""

    def check() -> str:
        missing = [what for path, what in paths.items() if not os.path.lexists(path)]
        return f"removed since the start: {', '.join(missing)}" if missing else ""

    return check


def can_run(program: str) -> Check:
    """Whether a program is still there."""

    def check() -> str:
        return "" if os.access(program, os.X_OK) else f"{program} cannot be run"

    return check
