"""Control groups as this machine has them. v1 and v2 differ behind this, in one file each.

Paths of groups are relative to where control groups are mounted: "gitaly/gitaly-123/repos-4".
"""

import os
from typing import Protocol

from gitaly.cgroups.settings import Resources
from gitaly.cgroups.statistics import Statistics
from gitaly.errors import NodeError


class CgroupsUnusable(NodeError):
    """Control groups don't work here as configured. The message says what the operator can do."""


class Hierarchy(Protocol):
    """One machine's control groups. All of it blocks, if only for microseconds."""

    @property
    def version(self) -> int: ...

    @property
    def mountpoint(self) -> str: ...

    @property
    def homes(self) -> tuple[str, ...]:
        """The files by which a process returns to the node's own groups; none on v2."""

    def prepare(self) -> None:
        """Look whether groups can be made here. Raises CgroupsUnusable."""

    def create(self, path: str, resources: Resources) -> None:
        """Make a group and set its limits; one that is there gets the limits. Raises OSError."""

    def remove(self, path: str) -> None:
        """Remove a group and those below it. Raises OSError if processes are in it."""

    def subgroups(self, path: str) -> set[str]:
        """The names of the groups in it."""

    def directories(self, path: str) -> list[str]:
        """Where the group is in the file system, one for each hierarchy."""

    def doors(self, path: str) -> list[str]:
        """The files into which a process writes "0" in order to be in the group."""

    def kill_counter(self, path: str) -> str:
        """The file with a line "oom_kill N"."""

    def statistics(self, path: str) -> Statistics:
        """What the kernel tells of it."""


def own_group(controller: str) -> str:
    """The path of the node's own group, as its namespace sees it; "" for the root.

    `controller`: "memory", or empty for v2.
    """
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controller in controllers.split(","):
                return path.strip("/")
    return ""


def version_at(mountpoint: str) -> int | None:
    """1 or 2, or None if no control groups are mounted there. A hybrid layout is a 1."""
    if os.path.exists(os.path.join(mountpoint, "cgroup.controllers")):
        return 2
    if any(os.path.isdir(os.path.join(mountpoint, name)) for name in ("memory", "cpu")):
        return 1
    return None
