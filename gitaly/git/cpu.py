"""How much CPU time running git children have cost so far, with everything they have started."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat behind the command's name, which may hold anything.
GROUP: Final = 2
TIMES: Final = slice(11, 15)  # user and system; then those of children that have been waited for


def cpu_seconds_of_groups(groups: Iterable[int], proc: Path = Path("/proc")) -> dict[int, float]:
    """By process group: what its processes have used, in seconds. Blocks, for about 30 µs for
    each process of the machine.

    A group that is gone has no entry.
    """
    wanted, found = set(groups), dict[int, float]()
    if not wanted:
        return found
    for entry in os.scandir(proc):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        fields = stat.rpartition(")")[2].split()
        group = int(fields[GROUP])
        if group in wanted:
            seconds = sum(map(int, fields[TIMES])) / TICKS_PER_SECOND
            found[group] = found.get(group, 0.0) + seconds
    return found
