"""Which groups of version 2 are the node's: handed over by systemd or a container's runtime."""

import os
from typing import Final

from gitaly.cgroups import files
from gitaly.cgroups.hierarchy import CgroupsUnusable, own_group

# systemd marks with these what it delegates. Source: systemd, docs/CGROUP_DELEGATION.md.
MARKS: Final = ("user.delegate", "trusted.delegate")
UNITS: Final = (".service", ".scope", ".slice")  # what systemd itself makes groups for
HANDED_OVER: Final = ("", "cgroup.procs", "cgroup.subtree_control")


def own_path(mountpoint: str, process: str) -> str:
    """The node's own group below the mount; "" if that is the top of it. Raises CgroupsUnusable.

    Without a namespace of its own a container reads a path of the host, and has only its own group
    mounted.
    """
    own = own_group("", process)
    if ".." not in own.split("/") and os.path.isdir(os.path.join(mountpoint, own)):
        return own
    if os.getpid() in files.numbers(f"{mountpoint}/cgroup.procs"):
        return ""
    raise CgroupsUnusable(
        f"the node's own cgroup /{own} is not visible below {mountpoint}: give the container a"
        " cgroup namespace (docker: --cgroupns=private)"
    )


def is_delegated(directory: str) -> bool:
    """Whether the node may make groups there, move itself, and switch controllers on."""
    return all(os.access(os.path.join(directory, name), os.W_OK) for name in HANDED_OVER)


def is_shelter(mountpoint: str, own: str) -> bool:
    """Whether somebody has started the node in a group below the one that is handed over, as
    systemd does with DelegateSubgroup=.

    A user may write to whatever is delegated, to the slices of his systemd as well: a unit in one
    is where delegation begins. The superuser may write everywhere: he needs a mark.
    """
    above, name = os.path.split(own)
    directory = os.path.join(mountpoint, above)
    if name.endswith(UNITS) or not is_delegated(directory):
        return False
    if files.numbers(f"{directory}/cgroup.procs"):
        return False
    return os.geteuid() != 0 or any(_mark(directory, mark) == b"1" for mark in MARKS)


def is_top_of_machine(directory: str) -> bool:
    """The one group that may have processes and controllers: it has no events of its own."""
    return not os.path.exists(f"{directory}/cgroup.events")


def _mark(directory: str, name: str) -> bytes:
    try:
        return os.getxattr(directory, name)
    except OSError:
        return b""
