"""What an operator can do about control groups that don't work."""

import errno
import os
import pwd

from gitaly.cgroups.hierarchy import Hierarchy, own_group


def remedy(error: OSError, hierarchy: Hierarchy, hierarchy_root: str) -> str:
    """What the operator can do about an error of the cgroup file system; one sentence."""
    mountpoint = hierarchy.mountpoint
    where = str(error.filename or mountpoint)
    user = _user()
    if error.errno in (errno.EACCES, errno.EPERM):
        if hierarchy.version == 1:
            tops = " ".join(f"{mountpoint}/{name}/{hierarchy_root}" for name in ("memory", "cpu"))
            return f"as root: mkdir -p {tops} && chown -R {user} {tops}"
        return _delegation(user, hierarchy_root, mountpoint)
    if error.errno == errno.EROFS:
        return (
            "the cgroup file system is mounted read-only, as containers have it:"
            " give the container a writable one (docker: --cgroupns=private and a mount of"
            f" {mountpoint} with rw), or set cgroups.repositories.count = 0"
        )
    if error.errno == errno.EBUSY and where.endswith("cgroup.subtree_control"):
        return (
            f"{os.path.dirname(where)} has processes of its own, and cgroup v2 wants them in a"
            " group below: with systemd 254 or newer set DelegateSubgroup=node beside Delegate=yes;"
            " else start the node in a group beside cgroups.hierarchy_root"
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


def _delegation(user: str, hierarchy_root: str, mountpoint: str) -> str:
    own = own_group("")
    if own and os.access(os.path.join(mountpoint, own), os.W_OK):
        return f'the node\'s own group is delegated: set cgroups.hierarchy_root = "{own}"'
    return (
        "set Delegate=yes in the node's systemd unit and cgroups.hierarchy_root to the unit's group"
        f' (now "{own}"), or as root: mkdir -p {mountpoint}/{hierarchy_root} &&'
        f" chown -R {user} {mountpoint}/{hierarchy_root}"
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
