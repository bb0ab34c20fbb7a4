"""`make bench`: all measurements, each beside its limit. Arguments choose some by name."""

import sys
from collections.abc import Callable, Iterable

from bench import calls, clone, health, hostile, limits, packcache, push, reads, spawn, stall, start
from bench.report import Row
from bench.repository import bench_directory, make_repository

HISTORY = "history.git"
OF_HISTORY = frozenset({"calls", "clone", "hostile", "packcache"})  # groups that need it


def main(chosen: list[str]) -> int:
    storage = bench_directory()
    groups: dict[str, Callable[[], Iterable[Row]]] = {
        "start": lambda: start.measure(storage),
        "spawn": spawn.measure,
        "stall": stall.measure,
        "calls": lambda: calls.measure(storage, HISTORY),
        "reads": lambda: reads.measure(storage),
        "limits": limits.measure,
        "push": push.measure,
        "clone": lambda: clone.measure(storage, HISTORY),
        "health": lambda: health.measure(storage, HISTORY),
        "hostile": lambda: hostile.memory(storage, HISTORY),
        "shares": lambda: hostile.shares(storage),
        "packcache": lambda: packcache.measure(storage, HISTORY),
    }
    print(f"the repository is below {storage}; the first run makes it", flush=True)
    missed = 0
    for name in chosen or list(groups):
        if name in OF_HISTORY:
            make_repository(storage / HISTORY)
        for row in groups[name]():
            missed += not row.holds
            print(row, flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
