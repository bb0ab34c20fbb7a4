"""The real control groups of this machine, for tests that need them.

What is mounted decides: on a machine with version 2 alone these tests run on that, on one with
version 1, or both, on version 1.
"""

import contextlib
import os
from pathlib import Path

from gitaly.cgroups import Hierarchy, Version1, Version2, version_at

MOUNTPOINT = "/sys/fs/cgroup"
CONTROLLERS = ("memory", "cpu", "cpuacct")  # of version 1, in which a node may make groups


def counts_apart() -> bool:
    """Whether this machine has CPU time counted in a hierarchy of its own."""
    return Path(MOUNTPOINT, "cpuacct/tasks").exists() and not os.path.samefile(
        f"{MOUNTPOINT}/cpuacct", f"{MOUNTPOINT}/cpu"
    )


def is_unified() -> bool:
    """Whether this machine has version 2 alone."""
    return version_at(MOUNTPOINT) == 2


def hierarchy() -> Hierarchy:
    """The control groups of this machine."""
    return Version2(MOUNTPOINT) if is_unified() else Version1(MOUNTPOINT)


def tops() -> list[Path]:
    """Where groups begin, once for each hierarchy."""
    if is_unified():
        return [Path(MOUNTPOINT)]
    return [Path(MOUNTPOINT, controller) for controller in CONTROLLERS]


def controllers() -> set[str]:
    """Those by which /proc/PID/cgroup names the groups of a process; one for each hierarchy."""
    if is_unified():
        return {""}
    return {"memory", "cpu"} | ({"cpuacct"} if counts_apart() else set())


def remove_root(root: str) -> None:
    """Remove an empty group of ours from all hierarchies."""
    for top in tops():
        with contextlib.suppress(FileNotFoundError):
            (top / root).rmdir()


def why_no_groups() -> str:
    """Why this machine cannot run the tests with real groups; empty if it can."""
    return why_no_v2() if is_unified() else why_no_v1()


def why_no_v1() -> str:
    """Why this machine cannot run the tests for version 1; empty if it can."""
    for controller in ("memory", "cpu"):
        top = Path(MOUNTPOINT, controller)
        if not (top / "tasks").exists():
            return f"cgroup v1 controller {controller} is not mounted at {top}"
        if not os.access(top, os.W_OK):
            return f"{top} is not writable"
    return ""


def why_no_v2() -> str:
    """Why this machine cannot run the tests for version 2 with limits; empty if it can."""
    listed = Path(MOUNTPOINT, "cgroup.controllers")
    if not listed.exists():
        return f"cgroup v2 is not mounted at {MOUNTPOINT}"
    if missing := {"cpu", "memory"} - set(listed.read_text().split()):
        return f"cgroup v2 at {MOUNTPOINT} lacks the controllers {', '.join(sorted(missing))}"
    if not os.access(MOUNTPOINT, os.W_OK):
        return f"{MOUNTPOINT} is not writable"
    return ""


def groups_of(pid: int | str) -> dict[str, str]:
    """The groups of a process by controller; by "" that of version 2."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def left_below(root: str) -> list[str]:
    """The groups that exist below a root of ours, in all hierarchies."""
    return [str(path) for top in tops() for path in (top / root).glob("**/")]


def own_groups() -> str:
    """What /proc says of this process."""
    return Path("/proc/self/cgroup").read_text()


def parent_of(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
