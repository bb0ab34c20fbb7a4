"""Control groups of version 1: one hierarchy for memory, one for CPU.

A thread that writes "0" to `tasks` moves itself, in 10 to 50 µs. Writing a number there, or
anything to `cgroup.procs`, makes the kernel wait for all processors: 8 ms on a quiet machine.

CPU time is counted by a third controller, cpuacct. Most machines mount it together with cpu; where
it stands alone there are groups in it, too, for 10 µs with each command. Without it that figure is
missing, and nothing else.
"""

import os
from collections.abc import Mapping
from typing import Final

from gitaly.cgroups import files
from gitaly.cgroups.hierarchy import OWN_PROCESS, CgroupsUnusable, Site, own_group
from gitaly.cgroups.settings import PERIOD_US, Resources
from gitaly.cgroups.statistics import Statistics

CONTROLLERS: Final = ("memory", "cpu")
ACCOUNTING: Final = "cpuacct"
NANOSECONDS: Final = 1e9


class Version1:
    """The hierarchies `<mountpoint>/memory`, `<mountpoint>/cpu`, and perhaps `cpuacct`."""

    version = 1

    def __init__(
        self,
        mountpoint: str,
        process: str = OWN_PROCESS,
        tops: tuple[str, ...] = CONTROLLERS,
        accounting: str = ACCOUNTING,
    ) -> None:
        """`process`: the directory of the node in /proc; `tops` and `accounting`: where paths of
        groups begin, by controller: "memory", or "memory/system.slice/gitaly.service"."""
        self.mountpoint = mountpoint
        self._process = process
        self._tops = tops
        self._accounting_top = accounting
        self._accounting = ""  # the same once it is seen to be a hierarchy of its own, and ours

    @property
    def homes(self) -> tuple[str, ...]:
        """`tasks` of the node's own groups."""
        own = [*self._own(), *([self._own_of(ACCOUNTING)] if self._accounting else [])]
        return tuple(os.path.join(self.mountpoint, path, "tasks") for path in own)

    def own_site(self, configured_root: str, pid: int) -> Site:  # noqa: ARG002 - needs neither
        """Below the node's own group of each hierarchy: they may have processes beside groups."""
        own = self._own()
        for path in own:
            directory = os.path.join(self.mountpoint, path)
            if not os.access(directory, os.W_OK):
                raise CgroupsUnusable(
                    f"{directory} is not the node's to write to: give it to the node's user"
                    " (chown), or give its container a writable cgroup file system"
                )
        accounting = self._own_of(ACCOUNTING)
        below = Version1(self.mountpoint, self._process, own, accounting)
        return Site(hierarchy=below, root="")

    def _own(self) -> tuple[str, ...]:
        """The node's own groups, below the mountpoint. In a container a path may be hidden, and
        what is mounted is the node's own group."""
        return tuple(map(self._own_of, CONTROLLERS))

    def _own_of(self, controller: str) -> str:
        own = os.path.join(controller, own_group(controller, self._process)).rstrip("/")
        is_there = os.path.exists(os.path.join(self.mountpoint, own, "tasks"))
        return own if is_there else controller

    def _counts_apart(self) -> bool:
        """Whether cpuacct is a hierarchy of its own, and we may leave and enter groups there."""
        top, cpu = (os.path.join(self.mountpoint, name) for name in (ACCOUNTING, "cpu"))
        home = os.path.join(self.mountpoint, self._own_of(ACCOUNTING), "tasks")
        return os.access(home, os.W_OK) and os.path.isdir(cpu) and not os.path.samefile(top, cpu)

    def prepare(self) -> None:
        """Look whether both controllers are there, and where CPU time is counted."""
        for controller in CONTROLLERS:
            path = os.path.join(self.mountpoint, controller, "tasks")
            if not os.path.exists(path):
                raise CgroupsUnusable(
                    f"cgroup v1 controller {controller} is not mounted at"
                    f" {os.path.dirname(path)}: mount it, or set cgroups.mountpoint"
                )

        self._accounting = self._accounting_top if self._counts_apart() else ""

    def create(self, path: str, resources: Resources) -> None:
        """Make a group in all hierarchies and set its limits."""
        memory, cpu = self._limiting(path)
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
        if self._accounting:
            try:
                os.makedirs(self._counted(path), mode=0o755, exist_ok=True)
            except OSError:  # not ours: what it would count is worth no refusal
                self._accounting = ""

    def _inherit(self, memory: str) -> None:
        """Before Linux 5.11 a limit did not count for the groups below unless one said so."""
        switch = f"{memory}/memory.use_hierarchy"
        if files.number(switch) == 0:
            files.write(switch, "1")

    def remove(self, path: str) -> None:
        """Remove it from all hierarchies. Raises OSError if processes are in it."""
        for directory in self.directories(path):
            files.remove_empty(directory)

    def subgroups(self, path: str) -> set[str]:
        """The names of the groups in it, in any hierarchy."""
        return {name for top in self.directories(path) for name in files.subgroups(top)}

    def directories(self, path: str) -> list[str]:
        """Memory first, then cpu."""
        return [*self._limiting(path), *([self._counted(path)] if self._accounting else [])]

    def _limiting(self, path: str) -> list[str]:
        return [os.path.join(self.mountpoint, top, path) for top in self._tops]

    def _counted(self, path: str) -> str:
        """Where CPU time is counted."""
        return os.path.join(self.mountpoint, self._accounting or self._tops[1], path)

    def doors(self, path: str) -> list[str]:
        """`tasks`, which costs a single-threaded process microseconds."""
        return [f"{directory}/tasks" for directory in self.directories(path)]

    def kill_counter(self, path: str) -> str:
        """Counts kills of the group's own processes."""
        return f"{self.directories(path)[0]}/memory.oom_control"

    def statistics(self, path: str) -> Statistics:
        """What the kernel tells of it. No CPU time where cpuacct is not mounted or not ours."""
        memory, cpu = self._limiting(path)
        counted = self._counted(path)
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
            oom_kills=self._kills(memory, oom),
            limit_hits=files.number(f"{memory}/memory.failcnt"),
            cpu_user=files.number(f"{counted}/cpuacct.usage_user"),
            cpu_kernel=files.number(f"{counted}/cpuacct.usage_sys"),
            cpu_periods=throttling.get("nr_periods"),
            cpu_throttled_periods=throttling.get("nr_throttled"),
            cpu_throttled_seconds=None if throttled is None else throttled / NANOSECONDS,
            processes={
                "memory": len(files.numbers(f"{memory}/cgroup.procs")),
                "cpu": len(files.numbers(f"{cpu}/cgroup.procs")),
            },
        )

    def _kills(self, memory: str, oom: Mapping[str, int]) -> int | None:
        """Kills in a group and those in it: this version counts one in the victim's group only."""
        if "oom_kill" not in oom:  # before Linux 4.13
            return None
        inside = [files.table(f"{memory}/{x}/memory.oom_control") for x in files.subgroups(memory)]
        return sum(found.get("oom_kill", 0) for found in (oom, *inside))
