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
from gitaly.cgroups.delegation import is_delegated, is_shelter, is_top_of_machine, own_path
from gitaly.cgroups.hierarchy import OWN_PROCESS, CgroupsUnusable, OwnGroupUnusable, Site
from gitaly.cgroups.retreat import Retreat, is_leaf
from gitaly.cgroups.settings import PERIOD_US, Resources
from gitaly.cgroups.statistics import Statistics

CONTROLLERS: Final = ("cpu", "memory")
MICROSECONDS: Final = 1e6
LEAST_SHARES: Final = 2
MOST_SHARES: Final = 262144
MOST_WEIGHT: Final = 10000


class Version2:
    """The hierarchy at `mountpoint`."""

    version = 2
    homes: tuple[str, ...] = ()

    def __init__(self, mountpoint: str, process: str = OWN_PROCESS) -> None:
        """`process`: the directory of the node in /proc."""
        self.mountpoint = mountpoint
        self._process = process

    def prepare(self) -> None:
        """Look whether both controllers are there."""
        self._require_controllers(self.mountpoint)

    def own_site(self, configured_root: str, pid: int) -> Site:
        """Below the node's own group, or below the one above it if systemd's DelegateSubgroup= or
        an earlier node has put the node aside already."""
        own = own_path(self.mountpoint, self._process)
        directory, retreat = os.path.join(self.mountpoint, own).rstrip("/"), None
        above, name = os.path.split(own)
        if own and (is_leaf(name) or is_shelter(self.mountpoint, own)):
            own, directory = above, os.path.join(self.mountpoint, above).rstrip("/")
        elif is_top_of_machine(directory):
            raise OwnGroupUnusable(
                "the node runs in the topmost group, which is delegated to nobody"
            )
        else:
            kept = os.path.join(self.mountpoint, configured_root)
            retreat = Retreat(directory, pid, kept if kept.startswith(f"{directory}/") else "")
        if not is_delegated(directory):
            raise OwnGroupUnusable(
                f"{directory} is not delegated to the node: set Delegate=yes in its systemd unit,"
                " or give its container a writable cgroup file system"
            )
        self._require_controllers(directory)
        is_below = f"{configured_root}/".startswith(f"{own}/" if own else "")
        root = configured_root if is_below else own
        if retreat is None:
            return Site(hierarchy=self, root=root)
        return Site(hierarchy=self, root=root, enter=retreat.enter, leave=retreat.leave)

    def _require_controllers(self, directory: str) -> None:
        listed = (files.read(f"{directory}/cgroup.controllers") or "").split()
        missing = [name for name in CONTROLLERS if name not in listed]
        if missing:
            raise CgroupsUnusable(
                f"cgroup v2 at {directory} lacks the controllers {', '.join(missing)}:"
                " delegate them (systemd: Delegate=yes; a container: its runtime must pass them),"
                " and see that no v1 hierarchy holds them (/proc/cgroups)"
            )

    def create(self, path: str, resources: Resources) -> None:
        """Make a group, switch the controllers on above it, set its limits."""
        directory = self.directories(path)[0]
        is_new = not os.path.isdir(directory)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        try:
            self._switch_on(path)
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

    def _switch_on(self, path: str, controllers: str = "+cpu +memory") -> None:
        """In every group above. Only the last counts: those above may be somebody else's, and
        have them on.

        Memory also where the group has no limit of its own: a kill by a limit further up, or for
        want of memory on the machine, is counted only in groups that have the controller.
        """
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
        own_events = files.table(f"{top}/memory.events.local")  # without those of groups below
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
            ooms=own_events.get("oom"),
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
