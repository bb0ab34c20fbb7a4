"""How long the node's event loop stands still while git is born in a group that does.

The group has a CPU quota of 10 ms in 100 ms, and a process in it that uses all of that.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from statistics import median

from bench.report import Row
from bench.spawn import MOUNTPOINT, spawning
from gitaly.cgroups import CgroupsUnusable, Resources
from gitaly.git import DEVNULL, Processes
from gitaly.tasks import background

BIRTHS, AT_ONCE = 8, 5
QUOTA_US = 10_000
BURN = ["/bin/sh", "-c", "while :; do :; done"]


def measure() -> Iterator[Row]:
    """One row; none, and a line that says why, where there are no groups."""
    try:
        lags, births = asyncio.run(_measure())
    except (CgroupsUnusable, OSError) as error:
        print(f"stall: not measured: {error} ({MOUNTPOINT})")
        return
    text = f"loop lag during births of {median(births) * 1e3:.0f} ms, p99"
    yield Row(text, sorted(lags)[int(len(lags) * 0.99)] * 1e3, "ms", None, 25, "")


async def _measure() -> tuple[list[float], list[float]]:
    lags: list[float] = []
    births: list[float] = []

    async def bear(inside: Processes) -> None:
        for _ in range(BIRTHS):
            started = time.perf_counter()
            async with inside.run(["/bin/true"], os.environ, cmd="true", placement="a") as child:
                births.append(time.perf_counter() - started)
                await child.wait()

    async with (
        spawning(Resources(cpu_quota_us=QUOTA_US)) as inside,
        inside.run(BURN, os.environ, cmd="sh", placement="a", stdout=DEVNULL),
        background(_watch(lags)),
        asyncio.TaskGroup() as parents,
    ):
        for _ in range(AT_ONCE):
            parents.create_task(bear(inside))
    return lags, births


async def _watch(lags: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append(time.perf_counter() - before - 0.001)
