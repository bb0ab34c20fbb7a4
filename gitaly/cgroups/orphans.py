"""Children that nobody has heard of: born in the moment in which their spawner died."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress

from gitaly.cgroups import files


def kill_orphans(directory: str, spawners: Collection[int]) -> list[int]:
    """Kill the process groups in a control group whose leader is no child of these spawners.

    Returns the leaders. Only what spawners have started leads a process group there.
    """
    killed = []
    for pid in files.numbers(f"{directory}/cgroup.procs"):
        with suppress(ProcessLookupError, FileNotFoundError):
            if pid not in spawners and os.getpgid(pid) == pid and parent_of(pid) not in spawners:
                os.killpg(pid, signal.SIGKILL)
                killed.append(pid)
    return killed


def parent_of(pid: int) -> int:
    """The parent of a process. Raises FileNotFoundError or ProcessLookupError if it is gone."""
    with open(f"/proc/{pid}/stat") as file:
        # The name of the program, in brackets, may hold anything.
        return int(file.read().rsplit(")", 1)[1].split()[1])
