"""Control groups of version 2: one hierarchy, whose controllers are switched on level by level.

No thread can be placed by itself (memory is not a threaded controller), and a process that moves
by `cgroup.procs` waits 8 ms on a quiet machine. So a spawner process moves once and stays: what
it starts is born where it is.
"""

import math
import os
from contextlib import suppress
from typing import Final

from gitaly.cgroups import files
from gitaly.cgroups.hierarchy import CgroupsUnusable
from gitaly.cgroups.settings import PERIOD_US, Resources
from gitaly.cgroups.statistics import Statistics

MICROSECONDS: Final = 1e6
LEAST_SHARES: Final = 2
MOST_SHARES: Final = 262144
MOST_WEIGHT: Final = 10000


class Version2:
    """The hierarchy at `mountpoint`."""

    version = 2
    homes: tuple[str, ...] = ()

    def __init__(self, mountpoint: str) -> None:
        self.mountpoint = mountpoint

    def prepare(self) -> None:
        """Look whether both controllers are there."""
        listed = (files.read(f"{self.mountpoint}/cgroup.controllers") or "").split()
        missing = [name for name in ("cpu", "memory") if name not in listed]
        if missing:
            raise CgroupsUnusable(
                f"cgroup v2 at {self.mountpoint} lacks the controllers {', '.join(missing)}:"
                " delegate them (systemd: Delegate=yes; a container: its runtime must pass them),"
                " and see that no v1 hierarchy holds them (/proc/cgroups)"
            )

    def create(self, path: str, resources: Resources) -> None:
        """Make a group, switch the controllers on above it, set its limits."""
        directory = self.directories(path)[0]
        is_new = not os.path.isdir(directory)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        try:
            self._switch_on(path, "+cpu +memory" if resources.memory_bytes > 0 else "+cpu")
            if resources.memory_bytes > 0:
                files.write(f"{directory}/memory.max", str(resources.memory_bytes))
            if resources.cpu_shares > 0:
                files.write(f"{directory}/cpu.weight", str(weight_of(resources.cpu_shares)))
            if resources.cpu_quota_us > 0:
                files.write(f"{directory}/cpu.max", f"{resources.cpu_quota_us} {PERIOD_US}")
        except OSError:
            if is_new:
                with suppress(OSError):
                    os.rmdir(directory)
            raise

    def _switch_on(self, path: str, controllers: str) -> None:
        """In every group above. Only the last counts: those above may be somebody else's, and
        have them on."""
        above = [self.mountpoint]
        for name in path.split("/")[:-1]:
            above.append(os.path.join(above[-1], name))
        for directory in above[:-1]:
            with suppress(OSError):
                files.write(f"{directory}/cgroup.subtree_control", controllers)
        files.write(f"{above[-1]}/cgroup.subtree_control", controllers)

    def remove(self, path: str) -> None:
        """Remove it and those below. Raises OSError if processes are in it."""
        files.remove_empty(self.directories(path)[0])

    def subgroups(self, path: str) -> set[str]:
        """The names of the groups in it."""
        return set(files.subgroups(self.directories(path)[0]))

    def directories(self, path: str) -> list[str]:
        """There is one."""
        return [os.path.join(self.mountpoint, path)]

    def doors(self, path: str) -> list[str]:
        """The slow one, for a process that stays."""
        return [f"{self.mountpoint}/{path}/cgroup.procs"]

    def kill_counter(self, path: str) -> str:
        """Counts kills in the group and below it."""
        return f"{self.mountpoint}/{path}/memory.events"

    def statistics(self, path: str) -> Statistics:
        """What the kernel tells of it."""
        top = self.directories(path)[0]
        usage, events = files.table(f"{top}/memory.stat"), files.table(f"{top}/memory.events")
        cpu = files.table(f"{top}/cpu.stat")
        throttled = cpu.get("throttled_usec")
        controllers = (files.read(f"{top}/cgroup.controllers") or "").split()
        processes = len(files.numbers(f"{top}/cgroup.procs"))
        return Statistics(
            memory_bytes=files.number(f"{top}/memory.current"),
            memory_limit_bytes=files.limit(f"{top}/memory.max"),
            memory_peak_bytes=files.number(f"{top}/memory.peak"),
            anonymous_bytes=usage.get("anon"),
            active_file_bytes=usage.get("active_file"),
            inactive_file_bytes=usage.get("inactive_file"),
            oom_kills=events.get("oom_kill"),
            limit_hits=events.get("max"),
            cpu_user=cpu.get("user_usec"),
            cpu_kernel=cpu.get("system_usec"),
            cpu_periods=cpu.get("nr_periods"),
            cpu_throttled_periods=cpu.get("nr_throttled"),
            cpu_throttled_seconds=None if throttled is None else throttled / MICROSECONDS,
            processes=dict.fromkeys(controllers, processes),
            memory_events={name: events[name] for name in ("high", "max", "oom") if name in events},
            page_faults=usage.get("pgfault"),
            major_page_faults=usage.get("pgmajfault"),
            memory_pressure=files.pressure(f"{top}/memory.pressure"),
            io_pressure=files.pressure(f"{top}/io.pressure"),
            cpu_pressure=files.pressure(f"{top}/cpu.pressure"),
        )


def weight_of(shares: int) -> int:
    """The weight of v2 for shares of v1: 1024, the usual one, is 100, the usual one there.

    Source: containerd/cgroups 3.1.2, utils (the curve); Linux, sched.h (the ranges).
    """
    if shares <= LEAST_SHARES:
        return 1 if shares else 0
    if shares >= MOST_SHARES:
        return MOST_WEIGHT
    exponent = math.log2(shares)
    return math.ceil(10 ** ((exponent**2 + 125 * exponent) / 612 - 7 / 34))
