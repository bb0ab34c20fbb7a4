"""Control groups of version 1: one hierarchy for memory, one for CPU.

A thread that writes "0" to `tasks` moves itself, in 10 to 50 µs. Writing a number there, or
anything to `cgroup.procs`, makes the kernel wait for all processors: 8 ms on a quiet machine.
"""

import os
from typing import Final

from gitaly.cgroups import files
from gitaly.cgroups.hierarchy import CgroupsUnusable, own_group
from gitaly.cgroups.settings import PERIOD_US, Resources
from gitaly.cgroups.statistics import Statistics

CONTROLLERS: Final = ("memory", "cpu")
NANOSECONDS: Final = 1e9


class Version1:
    """The hierarchies `<mountpoint>/memory` and `<mountpoint>/cpu`."""

    version = 1

    def __init__(self, mountpoint: str) -> None:
        self.mountpoint = mountpoint

    @property
    def homes(self) -> tuple[str, ...]:
        """`tasks` of the node's own groups. In a container its path may be hidden: the root."""
        found = []
        for controller in CONTROLLERS:
            top = os.path.join(self.mountpoint, controller)
            own = os.path.join(top, own_group(controller), "tasks")
            found.append(own if os.path.exists(own) else os.path.join(top, "tasks"))
        return tuple(found)

    def prepare(self) -> None:
        """Look whether both controllers are there."""
        for controller in CONTROLLERS:
            path = os.path.join(self.mountpoint, controller, "tasks")
            if not os.path.exists(path):
                raise CgroupsUnusable(
                    f"cgroup v1 controller {controller} is not mounted at"
                    f" {os.path.dirname(path)}: mount it, or set cgroups.mountpoint"
                )

    def create(self, path: str, resources: Resources) -> None:
        """Make a group in both hierarchies and set its limits."""
        memory, cpu = self.directories(path)
        for directory in (memory, cpu):
            os.makedirs(directory, mode=0o755, exist_ok=True)
        if resources.memory_bytes > 0:
            self._inherit(memory)
            files.write(f"{memory}/memory.limit_in_bytes", str(resources.memory_bytes))
        if resources.cpu_shares > 0:
            files.write(f"{cpu}/cpu.shares", str(resources.cpu_shares))
        if resources.cpu_quota_us > 0:
            files.write(f"{cpu}/cpu.cfs_period_us", str(PERIOD_US))
            files.write(f"{cpu}/cpu.cfs_quota_us", str(resources.cpu_quota_us))

    def _inherit(self, memory: str) -> None:
        """Before Linux 5.11 a limit did not count for the groups below unless one said so."""
        switch = f"{memory}/memory.use_hierarchy"
        if files.number(switch) == 0:
            files.write(switch, "1")

    def remove(self, path: str) -> None:
        """Remove it from both hierarchies. Raises OSError if processes are in it."""
        for directory in self.directories(path):
            files.remove_empty(directory)

    def subgroups(self, path: str) -> set[str]:
        """The names of the groups in it, in either hierarchy."""
        return {name for top in self.directories(path) for name in files.subgroups(top)}

    def directories(self, path: str) -> list[str]:
        """Memory first."""
        return [os.path.join(self.mountpoint, controller, path) for controller in CONTROLLERS]

    def doors(self, path: str) -> list[str]:
        """`tasks`, which costs a single-threaded process microseconds."""
        return [f"{directory}/tasks" for directory in self.directories(path)]

    def kill_counter(self, path: str) -> str:
        """Counts kills of the group's own processes."""
        return f"{self.directories(path)[0]}/memory.oom_control"

    def statistics(self, path: str) -> Statistics:
        """What the kernel tells of it. CPU time only where cpu and cpuacct are mounted as one."""
        memory, cpu = self.directories(path)
        usage = files.table(f"{memory}/memory.stat")
        oom = files.table(f"{memory}/memory.oom_control")
        throttling = files.table(f"{cpu}/cpu.stat")
        throttled = throttling.get("throttled_time")
        return Statistics(
            memory_bytes=files.number(f"{memory}/memory.usage_in_bytes"),
            memory_limit_bytes=files.limit(f"{memory}/memory.limit_in_bytes"),
            memory_peak_bytes=files.number(f"{memory}/memory.max_usage_in_bytes"),
            anonymous_bytes=usage.get("total_rss"),
            active_file_bytes=usage.get("total_active_file"),
            inactive_file_bytes=usage.get("total_inactive_file"),
            is_under_oom=bool(oom.get("under_oom")),
            oom_kills=oom.get("oom_kill"),
            limit_hits=files.number(f"{memory}/memory.failcnt"),
            cpu_user=files.number(f"{cpu}/cpuacct.usage_user"),
            cpu_kernel=files.number(f"{cpu}/cpuacct.usage_sys"),
            cpu_periods=throttling.get("nr_periods"),
            cpu_throttled_periods=throttling.get("nr_throttled"),
            cpu_throttled_seconds=None if throttled is None else throttled / NANOSECONDS,
            processes={
                "memory": len(files.numbers(f"{memory}/cgroup.procs")),
                "cpu": len(files.numbers(f"{cpu}/cgroup.procs")),
            },
        )
