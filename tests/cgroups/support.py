"""The real control groups of this machine, for tests that need them."""

import contextlib
import os
from pathlib import Path

MOUNTPOINT = "/sys/fs/cgroup"
CONTROLLERS = ("memory", "cpu", "cpuacct")  # in which a node may make groups


def counts_apart() -> bool:
    """Whether this machine has CPU time counted in a hierarchy of its own."""
    return Path(MOUNTPOINT, "cpuacct/tasks").exists() and not os.path.samefile(
        f"{MOUNTPOINT}/cpuacct", f"{MOUNTPOINT}/cpu"
    )


def remove_root(root: str) -> None:
    """Remove an empty group of ours from all hierarchies."""
    for controller in CONTROLLERS:
        with contextlib.suppress(FileNotFoundError):
            Path(MOUNTPOINT, controller, root).rmdir()


def why_no_v1() -> str:
    """Why this machine cannot run the tests for version 1; empty if it can."""
    for controller in ("memory", "cpu"):
        top = Path(MOUNTPOINT, controller)
        if not (top / "tasks").exists():
            return f"cgroup v1 controller {controller} is not mounted at {top}"
        if not os.access(top, os.W_OK):
            return f"{top} is not writable"
    return ""


def groups_of(pid: int | str) -> dict[str, str]:
    """The groups of a process by controller."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def left_below(root: str) -> list[str]:
    """The groups that exist below a root of ours, in all hierarchies."""
    return [
        str(path)
        for controller in CONTROLLERS
        for path in Path(MOUNTPOINT, controller, root).glob("**/")
    ]


def own_groups() -> str:
    """What /proc says of this process."""
    return Path("/proc/self/cgroup").read_text()


def parent_of(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
