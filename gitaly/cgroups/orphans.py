"""What a spawner leaves behind that dies: children nobody has heard of, and children's children."""

import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress

from gitaly.cgroups import files


def kill_orphans(directory: str, spawners: Callable[[], Collection[int]]) -> list[int]:
    """Kill who is in a control group without belonging to a child of these spawners.

    What a child starts is in its process group, so it belongs to a spawner as long as the leader
    of its process group is a child of one, if only a zombie. Returns whom it has killed.
    """
    inside = files.numbers(f"{directory}/cgroup.procs")
    living, killed = spawners(), []  # in this order: who is inside by now has been started by these
    for pid in inside:
        with suppress(ProcessLookupError):
            leader = os.getpgid(pid)  # one that is just being born is still led by its spawner
            if leader not in living and parent_of(leader) not in living:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    return killed


def parent_of(pid: int) -> int:
    """The parent of a process; 0 if there is no such process."""
    stat = files.read(f"/proc/{pid}/stat")
    # The name of the program, in brackets, may hold anything.
    return int(stat.rsplit(")", 1)[1].split()[1]) if stat else 0
