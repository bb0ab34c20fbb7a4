"""Whether a command that died was taken by the kernel because of a memory limit, and which.

The kernel only counts: so many processes of this group were killed. A death by SIGKILL at the same
time may have another cause. So each kill is the cause of one death at most; a death is one if git
or its child ended by SIGKILL, which we did not send; and if more died than were killed, it was
those who held the most memory, because these are whom the kernel takes.
"""

import asyncio
import os
import re
import signal
from dataclasses import dataclass, field
from typing import Final, Protocol

from gitaly.cgroups.groups import Group, Groups
from gitaly.cgroups.metrics import SpawnMetrics
from gitaly.cgroups.statistics import Statistics
from gitaly.git import StoppedByLimit
from gitaly.observe.log import Logger

# What git says of a child that ended by SIGKILL. Source: git, run-command.c.
DIED: Final = re.compile(rb"(?:git-|git )?([\w-]+) died of signal 9\b")
RIVAL_SECONDS: Final = 0.05  # in which another death may turn up to which the kill belongs
FRESH_SECONDS: Final = 10.0  # how long after a kill git may still be busy ending
# The kernel takes the largest. One that has much less than an even share of the limit is not it.
UNEVENNESS: Final = 4


class Reader(Protocol):
    """Reads statistics without standing in the way of the event loop."""

    async def __call__(self, path: str) -> Statistics: ...


@dataclass(eq=False, slots=True, kw_only=True)
class Death:
    """Somebody who may have been killed."""

    before: int  # kills in the group when he was born
    after: int  # and when he had ended
    peak_bytes: int  # of the largest process of his
    is_kill: bool | None = None  # None: not decided


@dataclass(slots=True)
class Docket:
    """The kills and deaths of one group."""

    known: int = 0  # kills that we have heard of
    free: dict[int, float] = field(default_factory=dict)  # kills that explain no death: when heard
    deaths: list[Death] = field(default_factory=list)

    def note(self, kills: int, now: float) -> None:
        """The kernel's count is now that."""
        for number in range(self.known + 1, kills + 1):
            self.free[number] = now
        self.known = max(self.known, kills)
        for number in [n for n, heard in self.free.items() if now - heard > FRESH_SECONDS]:
            del self.free[number]

    def decide(self) -> None:
        """Give each kill that is left to the largest of those who lived then."""
        for death in sorted(self.deaths, key=lambda death: -death.peak_bytes):
            kills = [n for n in self.free if death.before < n <= death.after]
            death.is_kill = bool(kills)
            if kills:
                del self.free[max(kills)]
        self.deaths.clear()


class Inquests:
    """Holds them for all groups of a node."""

    def __init__(self, groups: Groups, read: Reader, metrics: SpawnMetrics, logger: Logger) -> None:
        self._parent_path = groups.parent_path
        self._read = read
        self._metrics = metrics
        self._logger = logger
        self._dockets: dict[str, Docket] = {}
        self._hits: dict[str, int] = {}  # how often a limit had stood in the way, by path

    def note(self, group: Group, kills: int) -> None:
        """A child has ended, and the kernel's count is now that."""
        docket = self._dockets.setdefault(group.name, Docket())
        docket.note(kills, asyncio.get_running_loop().time())

    async def hold(
        self,
        group: Group,
        kills: tuple[int, int],
        *,
        status: int,
        said: bytes,
        peak_bytes: int,
        repository: str,
        name: str,
    ) -> StoppedByLimit | None:
        """What to tell of a command that failed: None if no limit was the cause.

        `kills`: the kernel's count before its birth and after its end; `status`: of waitpid;
        `said`: its stderr; `peak_bytes`: of the largest process of its tree.
        """
        child = DIED.search(said)
        is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if not (child or is_killed) or kills[1] <= kills[0]:
            return None
        docket = self._dockets.setdefault(group.name, Docket())
        death = Death(before=kills[0], after=kills[1], peak_bytes=peak_bytes)
        docket.deaths.append(death)
        await asyncio.sleep(RIVAL_SECONDS)
        found = await self._read(group.path)
        if not _is_plausible(death, found):
            death.is_kill = False
            docket.deaths = [other for other in docket.deaths if other is not death]
        if death.is_kill is None:
            docket.decide()
        if not death.is_kill:
            return None
        parent = await self._read(self._parent_path)
        limit, text = self._limit(group, found, parent)
        self._metrics.stopped(limit)
        victim = f"git {child[1].decode()}" if child else name
        fields = {
            "cgroup.path": group.path,
            "cgroup.limit": limit,
            "cgroup.memory_limit_bytes": (
                parent if limit == "parent" else found
            ).memory_limit_bytes,
            "cgroup.memory_peak_bytes": (parent if limit == "parent" else found).memory_peak_bytes,
            "cgroup.repository": repository,
            "command.memory_peak_bytes": peak_bytes,
        }
        self._logger.warning("command was stopped for want of memory", command=victim, **fields)
        return StoppedByLimit(f"{victim} was stopped: {text}", **fields)

    def _limit(self, group: Group, found: Statistics, parent: Statistics) -> tuple[str, str]:
        """Which limit it was, in one word and in a sentence's end."""
        own_hit = self._was_hit(group.path, found)
        parent_hit = self._was_hit(self._parent_path, parent)
        if own_hit and found.memory_limit_bytes is not None:
            number = group.name.removeprefix("repos-")
            size = human(found.memory_limit_bytes)
            return "repository", f"memory limit of repository cgroup {number} ({size}) is reached"
        if parent_hit and parent.memory_limit_bytes is not None:
            size = human(parent.memory_limit_bytes)
            return "parent", f"memory limit of all repository cgroups together ({size}) is reached"
        return "machine", "the machine is out of memory"

    def _was_hit(self, path: str, found: Statistics) -> bool:
        """Since we last asked. v1 counts also when it was enough to drop page cache."""
        hits = (found.limit_hits if found.ooms is None else found.ooms) or 0
        last = self._hits.get(path, 0)
        self._hits[path] = hits
        return hits > last


def _is_plausible(death: Death, found: Statistics) -> bool:
    if found.memory_limit_bytes is None:
        return True
    processes = max(found.processes.values(), default=0) + 1
    return death.peak_bytes * processes * UNEVENNESS >= found.memory_limit_bytes


def human(size_bytes: int) -> str:
    """ "1 GiB", "1.5 GiB", "128 MiB"."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.4g} {unit}"
    return f"{size_bytes} bytes"
