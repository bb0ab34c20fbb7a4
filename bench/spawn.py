"""What it costs to have git born inside a control group, beside a bare posix_spawn.

From the wish for a child to its known exit, by turns with and without a group. The figure is the
difference of the tenth percentiles: other load on the machine only ever adds. Dense: back to
back. Sparse: after 100 ms of quiet, when processors sleep and caches are cold.
"""

import asyncio
import io
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from statistics import quantiles

from prometheus_client import CollectorRegistry

from bench.report import Row
from gitaly.cgroups import (
    CgroupSpawner,
    CgroupsUnusable,
    Choice,
    Groups,
    Inquests,
    Resources,
    Settings,
    SpawnMetrics,
    Statistics,
    Version1,
    Version2,
    version_at,
)
from gitaly.git import (
    DEVNULL,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
    find_git,
    keep_inherited_descriptors,
)
from gitaly.observe.log import make_logger
from gitaly.storage import Blocking

LIMIT_MS = 0.2
DENSE, SPARSE, QUIET_SECONDS = 500, 80, 0.1
ENV = {"PATH": os.environ["PATH"], "HOME": "/", "LANG": "en_US.UTF-8", "TZ": "UTC"}
MOST_SHARES = 262_144  # whatever else runs on the machine shall not be measured
MOUNTPOINT = "/sys/fs/cgroup"


def measure() -> Iterator[Row]:
    """Rows for both cases; none, and a line that says why, where there are no groups."""
    try:
        yield from asyncio.run(_measure())
    except (CgroupsUnusable, OSError) as error:
        print(f"spawn: not measured: {error}")


async def _measure() -> list[Row]:
    async with spawning(Resources(cpu_shares=MOST_SHARES)) as inside:
        bare = Processes(PosixSpawner(), PrometheusCommandMetrics(CollectorRegistry(), ""))
        return [
            await _compare("dense", DENSE, 0.0, bare, inside),
            await _compare("sparse", SPARSE, QUIET_SECONDS, bare, inside),
        ]


@asynccontextmanager
async def spawning(resources: Resources) -> AsyncIterator[Processes]:
    """Starts processes in groups with these limits. Raises CgroupsUnusable."""
    keep_inherited_descriptors()
    version = version_at(MOUNTPOINT)
    if version is None:
        raise CgroupsUnusable(f"no control groups at {MOUNTPOINT}")
    hierarchy = (Version1 if version == 1 else Version2)(MOUNTPOINT)
    settings = Settings(
        hierarchy_root="gitaly-bench",
        count=1,
        parent=Resources(cpu_shares=MOST_SHARES),
        repository=resources,
    )
    logger = make_logger(io.BytesIO())
    choice = Choice(settings, random.Random(1))
    groups = Groups(hierarchy, settings, choice, os.getpid(), logger)
    groups.start()
    metrics = SpawnMetrics(CollectorRegistry())

    async def read(path: str) -> Statistics:
        return hierarchy.statistics(path)

    inquests = Inquests(groups, read, metrics, logger)
    spawner = CgroupSpawner(groups, inquests, metrics, Blocking())
    spawner.start()
    try:
        yield Processes(spawner, PrometheusCommandMetrics(CollectorRegistry(), ""))
    finally:
        await spawner.aclose()
        groups.stop()


async def _compare(
    name: str, rounds: int, quiet_seconds: float, bare: Processes, inside: Processes
) -> Row:
    argv = [find_git("", os.environ).path, "--version"]
    times: dict[Processes, list[float]] = {bare: [], inside: []}
    for _ in range(rounds):
        for processes in random.sample((bare, inside), 2):
            if quiet_seconds:
                await asyncio.sleep(quiet_seconds)
            else:
                await _run(processes, argv)  # so that each follows one of its own kind
            times[processes].append(await _run(processes, argv))
    before, after = (quantiles(found, n=10)[0] for found in times.values())
    text = f"spawn in a group, {name} (bare {before * 1e3:.2f} ms): added"
    added = after - before
    return Row(text, added * 1e3, "ms", None, LIMIT_MS, "")


async def _run(processes: Processes, argv: list[str]) -> float:
    started = time.perf_counter()
    async with processes.run(
        argv, ENV, cmd="git", placement="default/a.git", stdout=DEVNULL
    ) as child:
        await child.wait()
    return time.perf_counter() - started
