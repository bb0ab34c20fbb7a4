"""What running git children cost at this moment, with everything they have started."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# Places in /proc/PID/stat behind the command's name, which may hold anything.
GROUP: Final = 2
TIMES: Final = slice(11, 15)  # user and system; then those of children that have been waited for
RESIDENT: Final = 21


@dataclass(slots=True)
class GroupUsage:
    """What the processes of one process group use."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0  # resident; what processes share is counted for each of them


def usage_of_groups(groups: Iterable[int], proc: Path = Path("/proc")) -> dict[int, GroupUsage]:
    """By process group. Blocks, for about 30 µs for each process of the machine.

    A group that is gone has no entry.
    """
    wanted, found = set(groups), dict[int, GroupUsage]()
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
            usage = found.setdefault(group, GroupUsage())
            usage.cpu_seconds += sum(map(int, fields[TIMES])) / TICKS_PER_SECOND
            usage.memory_bytes += int(fields[RESIDENT]) * PAGE_BYTES
    return found


def cpu_seconds_of_groups(groups: Iterable[int], proc: Path = Path("/proc")) -> dict[int, float]:
    """The CPU time alone, by process group, in seconds. Blocks as `usage_of_groups` does."""
    return {group: usage.cpu_seconds for group, usage in usage_of_groups(groups, proc).items()}
