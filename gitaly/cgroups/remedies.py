"""What an operator can do about control groups that don't work."""

import errno
import os
import pwd

from gitaly.cgroups.hierarchy import Hierarchy, own_group


def remedy(error: OSError, hierarchy: Hierarchy, hierarchy_root: str) -> str:
    """What the operator can do about an error of the cgroup file system; one sentence."""
    mountpoint = hierarchy.mountpoint
    where = str(error.filename or mountpoint)
    user = user_name()
    if error.errno in (errno.EACCES, errno.EPERM):
        if hierarchy.version == 1:
            tops = " ".join(f"{mountpoint}/{name}/{hierarchy_root}" for name in ("memory", "cpu"))
            return f"as root: mkdir -p {tops} && chown -R {user} {tops}"
        return _delegation(user, mountpoint)
    if error.errno == errno.EROFS:
        return (
            "the cgroup file system is mounted read-only, as containers have it:"
            " give the container a writable one (docker: --cgroupns=private and --security-opt"
            " writable-cgroups=true), or set cgroups.repositories.count = 0"
        )
    if error.errno == errno.EBUSY and where.endswith("cgroup.subtree_control"):
        return (
            f"{os.path.dirname(where)} has processes of its own, and cgroup v2 wants them in a"
            " group below: with systemd 254 or newer set DelegateSubgroup=node beside Delegate=yes;"
            " else start the node in a group beside cgroups.hierarchy_root"
        )
    if error.errno == errno.EOPNOTSUPP:
        return (
            f"{os.path.dirname(where)} is or belongs to a threaded group (look into cgroup.type),"
            " which cannot have memory limits: set cgroups.hierarchy_root to another place"
        )
    if error.errno == errno.EBUSY:
        return (
            "more memory is in use there than the limit allows: stop the processes in"
            f" {os.path.dirname(where)}/cgroup.procs, or raise the limit"
        )
    if error.errno == errno.ENOENT:
        return (
            f"{where} is missing: the controllers cpu and memory must be mounted and switched on"
            f" (look into {mountpoint}/cgroup.controllers or /proc/cgroups)"
        )
    return "look into the kernel's log"


def remedy_for_entering(number: int, hierarchy: Hierarchy, path: str) -> str:
    """What the operator can do if groups can be made but not entered; `number`: errno."""
    if number in (errno.EACCES, errno.EPERM) and hierarchy.version == 2:
        return (
            f"a process of {user_name()} may move to {hierarchy.mountpoint}/{path} only if the user"
            " may also write to cgroup.procs of the group above both: start the node in a delegated"
            " group (systemd: Delegate=yes), below which it makes its own"
        )
    return "look into the kernel's log"


def _delegation(user: str, mountpoint: str) -> str:
    """To own a directory is not enough on v2: the user could make groups there, and not enter."""
    handed_over = "cgroup.{procs,threads,subtree_control}"
    return (
        "set Delegate=yes in the node's systemd unit"
        f' (the node is in "/{own_group("")}"), below which it makes its groups then;'
        f" in a container, as root: chown {user} {mountpoint} {mountpoint}/{handed_over}"
    )


def user_name() -> str:
    """Of this process; a number where nobody has given it a name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
