"""How a node makes room in its own group of version 2, so that groups can be made below it.

Controllers can be switched on only in a group without processes of its own. So the node steps
aside into a leaf, `node-<pid>`. Source: Linux, Documentation/admin-guide/cgroup-v2.rst, "No
Internal Process Constraint".
"""

import os
from contextlib import suppress
from typing import Final

from gitaly.cgroups import files
from gitaly.cgroups.hierarchy import CgroupsUnusable, OwnGroupUnusable
from gitaly.cgroups.orphans import parent_of

LEAF: Final = "node-"
MOST_NAMED: Final = 5  # processes in a message


class Retreat:
    """The node's way out of its own group, and back."""

    def __init__(self, directory: str, pid: int, kept: str = "") -> None:
        """`directory`: the node's own group; `kept`: a group between it and those of git, which
        goes with us if it is empty."""
        self.leaf = os.path.join(directory, f"{LEAF}{pid}")
        self._directory = directory
        self._pid = pid
        self._kept = kept

    def enter(self) -> None:
        """Move the node and what it has started into the leaf. Raises CgroupsUnusable.

        Other processes are not ours to move: if there are any, the message names them, and the
        node is back where it was.
        """
        self._remove_leftovers()
        try:
            os.makedirs(self.leaf, mode=0o755, exist_ok=True)
            inside = files.numbers(f"{self._directory}/cgroup.procs")
            self._move([pid for pid in inside if self._is_ours(pid)], self.leaf)
        except OSError as error:
            self.leave()
            raise CgroupsUnusable(
                f"the node cannot step aside into {self.leaf}: {error}: whoever delegates"
                f" {self._directory} must let the node's user write to cgroup.procs there"
            ) from error
        others = files.numbers(f"{self._directory}/cgroup.procs")
        if others:
            self.leave()
            raise OwnGroupUnusable(
                f"{self._directory} holds processes besides the node, {described(others)}, and"
                " cgroup v2 can limit nothing below a group with processes: start the node alone"
                " there (by exec, without a shell or an init around it), or have whoever starts it"
                f" move them first: mkdir {self._directory}/init && echo PID"
                f" >{self._directory}/init/cgroup.procs"
            )

    def leave(self) -> None:
        """Go back and remove the leaf, as far as the kernel and other groups let us."""
        with suppress(OSError):
            if self._kept:
                with suppress(OSError):
                    os.rmdir(self._kept)
            control = f"{self._directory}/cgroup.subtree_control"
            switched_on = (files.read(control) or "").split()
            if switched_on:
                if files.subgroups(self._directory) != [os.path.basename(self.leaf)]:
                    return  # limits of somebody else's may depend on the controllers
                files.write(control, " ".join(f"-{name}" for name in switched_on))
            self._move(files.numbers(f"{self.leaf}/cgroup.procs"), self._directory)
            os.rmdir(self.leaf)

    def _move(self, pids: list[int], group: str) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                files.write(f"{group}/cgroup.procs", str(pid))

    def _is_ours(self, pid: int) -> bool:
        """The node, or what it has started."""
        while pid > 1 and pid != self._pid:
            pid = parent_of(pid)
        return pid == self._pid

    def _remove_leftovers(self) -> None:
        for name in files.subgroups(self._directory):
            path = os.path.join(self._directory, name)
            if is_leaf(name) and path != self.leaf:
                with suppress(OSError):  # somebody lives there
                    os.rmdir(path)


def is_leaf(name: str) -> bool:
    """Whether a node has made the group in order to step aside."""
    number = name.removeprefix(LEAF)
    return name.startswith(LEAF) and number.isascii() and number.isdigit()


def described(pids: list[int]) -> str:
    """ "17 (bash), 19 (tini) and 3 more"; of processes of another namespace only how many."""
    known = [pid for pid in pids if pid]
    words = [f"{pid} ({(files.read(f'/proc/{pid}/comm') or '?').strip()})" for pid in known]
    text = ", ".join(words[:MOST_NAMED]) or "outside the container"
    more = len(pids) - len(words[:MOST_NAMED])
    return f"{text} and {more} more" if more and words else text
