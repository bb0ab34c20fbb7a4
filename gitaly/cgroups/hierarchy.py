"""Control groups as this machine has them. v1 and v2 differ behind this, in one file each.

Paths of groups are relative to where control groups are mounted: "gitaly/gitaly-123/repos-4".
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gitaly.cgroups.settings import Resources
from gitaly.cgroups.statistics import Statistics
from gitaly.errors import NodeError

OWN_PROCESS: Final = "/proc/self"


class CgroupsUnusable(NodeError):
    """Control groups don't work here as configured. The message says what the operator can do."""


class PlaceUnusable(CgroupsUnusable):
    """Groups cannot be made or entered at this place; at another they may."""


class OwnGroupUnusable(CgroupsUnusable):
    """Version 2 lets nothing be made below the group of this process, but perhaps below that of
    another one: of the node, if this is not the node."""


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

    def own_site(self, configured_root: str, pid: int) -> "Site":
        """Where groups may be made below the node's own. `pid`: of the node.

        Raises CgroupsUnusable, with the reason why there is no such place.
        """


def nothing() -> None:
    """What many sites ask of those who come and go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place for the groups of a node."""

    hierarchy: Hierarchy
    root: str  # the group below which they are made
    enter: Callable[[], None] = nothing  # what must be done before; raises CgroupsUnusable
    leave: Callable[[], None] = nothing  # and when all groups are gone


def own_group(controller: str, process: str = OWN_PROCESS) -> str:
    """The path of the node's own group, as its namespace sees it; "" for the root.

    `controller`: "memory", or empty for v2; `process`: the directory of the node in /proc.
    """
    with open(f"{process}/cgroup") as file:
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
