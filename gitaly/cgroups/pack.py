"""How much git may take for packing, so that it stays below the limits of its group."""

import math
from typing import Final

from gitaly.cgroups.settings import PERIOD_US, Resources

USUAL_WINDOW_BYTES: Final = 100 << 20  # of each thread, as git is told without limits
LEAST_WINDOW_BYTES: Final = 1 << 20
SHARE: Final = 4  # the windows of all threads take a quarter: the rest is for everything else


def pack_config(resources: Resources, cpus: int) -> tuple[tuple[str, str], ...]:
    """Git configuration for commands that pack; nothing where no limit asks for it."""
    quota = math.ceil(resources.cpu_quota_us / PERIOD_US) if resources.cpu_quota_us > 0 else cpus
    usable = max(1, min(cpus, quota))
    threads = max(1, int(math.log2(usable)))
    found = []
    if usable < cpus:
        found.append(("pack.threads", str(threads)))
    if resources.memory_bytes > 0:
        window = max(LEAST_WINDOW_BYTES, resources.memory_bytes // SHARE // threads)
        if window < USUAL_WINDOW_BYTES:
            found.append(("pack.windowMemory", str(window)))
    return tuple(found)
