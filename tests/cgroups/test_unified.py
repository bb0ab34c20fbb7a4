"""Birth in a group of version 2, for real: on any cgroup2 mount, whatever controllers it has."""

import io
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gitaly.cgroups import (
    CgroupSpawner,
    Choice,
    Groups,
    Inquests,
    Resources,
    Settings,
    SpawnMetrics,
    Statistics,
    Version2,
)
from gitaly.git import Processes, PrometheusCommandMetrics, keep_inherited_descriptors
from gitaly.observe.log import make_logger
from gitaly.storage import Blocking
from tests.git.support import newcomers

ROOT = f"gitaly-test-{os.getpid()}"
ENV = {"PATH": os.environ["PATH"]}


class WithoutControllers(Version2):
    """Where v1 holds the controllers, groups of v2 still hold processes."""

    def prepare(self) -> None:
        """Nothing is asked for."""

    def create(self, path: str, _: Resources) -> None:
        """Without limits."""
        os.makedirs(self.directories(path)[0], exist_ok=True)


def mountpoint() -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(path, os.W_OK):
            return path
    return ""


@pytest.fixture
async def place() -> AsyncIterator[tuple[Processes, CgroupSpawner]]:
    if not mountpoint():
        pytest.skip("no writable cgroup2 mount")
    keep_inherited_descriptors()
    newcomers.start()
    hierarchy = WithoutControllers(mountpoint())
    settings = Settings(hierarchy_root=ROOT, count=5)
    logger = make_logger(io.BytesIO())
    groups = Groups(hierarchy, settings, Choice(settings, random.Random(1)), os.getpid(), logger)
    groups.start()
    metrics = SpawnMetrics(CollectorRegistry())

    async def read(path: str) -> Statistics:
        return hierarchy.statistics(path)

    inquests = Inquests(groups, read, metrics, logger)
    spawner = CgroupSpawner(groups, inquests, metrics, Blocking())
    spawner.start()
    processes = Processes(spawner, PrometheusCommandMetrics(CollectorRegistry(), ""))
    yield processes, spawner
    await processes.aclose()
    await spawner.aclose()
    groups.stop()
    os.rmdir(Path(mountpoint(), ROOT))  # nothing else is left in it
    assert newcomers.left() == []


async def where(processes: Processes, key: str) -> tuple[str, str]:
    """What a process in the group of a repository says of itself, and where it ought to be."""
    argv = ["/bin/sh", "-c", "cat </proc/self/cgroup"]
    async with processes.run(argv, ENV, cmd="sh", placement=key) as child:
        assert child.stdout is not None
        said = (await child.stdout.read_all(10000)).decode()
        assert await child.wait()
    unified = next(line for line in said.splitlines() if line.startswith("0::"))
    return unified.removeprefix("0::/"), child.cgroup_path or ""


async def test_children_are_in_their_group_at_their_first_instruction(
    place: tuple[Processes, CgroupSpawner],
) -> None:
    processes, _ = place
    groups = set()
    for key in [*map(str, range(10)), *map(str, range(10))]:
        said, expected = await where(processes, key)
        assert said == expected
        groups.add(said)
    assert len(groups) > 2


async def test_a_spawner_stays_in_the_group_that_it_serves(
    place: tuple[Processes, CgroupSpawner],
) -> None:
    processes, spawner = place
    _, group = await where(processes, "a")
    inside = [pid for pid in spawner.pids if f"0::/{group}\n" in cgroup_of(pid)]
    assert len(inside) == 1


def cgroup_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()
