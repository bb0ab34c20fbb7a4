import io
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from prometheus_client import CollectorRegistry

from gitaly.cgroups import (
    CgroupSpawner,
    Choice,
    Groups,
    Inquests,
    NamedGroup,
    Resources,
    Settings,
    SpawnMetrics,
    Statistics,
)
from gitaly.git import Processes, PrometheusCommandMetrics, keep_inherited_descriptors
from gitaly.observe.log import make_logger
from gitaly.storage import Blocking
from tests.cgroups.support import hierarchy, left_below, remove_root, why_no_groups
from tests.git.support import newcomers, open_descriptors

FREE = Resources()
NOBODY: Mapping[str, NamedGroup] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Place:
    """Everything that is needed to start a process in a group."""

    groups: Groups
    spawner: CgroupSpawner
    processes: Processes
    registry: CollectorRegistry
    log: io.BytesIO


@pytest.fixture
def root() -> Iterator[str]:
    """The name of a group of our own, which must be gone afterwards."""
    reason = why_no_groups()
    if reason:
        pytest.skip(reason)
    root = f"gitaly-test-{os.getpid()}"
    yield root
    left = [path for path in left_below(root) if not path.rstrip("/").endswith(root)]
    remove_root(root)
    assert left == []


Opened = Callable[..., AbstractAsyncContextManager[Place]]


@pytest.fixture
def opened(root: str) -> Opened:
    """Opens groups and spawners on the machine's own controllers; leaves nothing behind."""

    @asynccontextmanager
    async def place(
        *,
        count: int = 2,
        repository: Resources = FREE,
        parent: Resources = FREE,
        named: Mapping[str, NamedGroup] = NOBODY,
        most: int = 8,
        patience_seconds: float = 10.0,
    ) -> AsyncIterator[Place]:
        keep_inherited_descriptors()
        newcomers.start()
        before = len(open_descriptors())
        log, registry = io.BytesIO(), CollectorRegistry()
        logger = make_logger(log, format="json")
        settings = Settings(
            hierarchy_root=root, count=count, repository=repository, parent=parent, named=named
        )
        groups = Groups(
            hierarchy(),
            settings,
            Choice(settings, random.Random(1)),
            os.getpid(),
            logger,
        )
        groups.start()
        metrics, threads = SpawnMetrics(registry), Blocking()

        async def read(path: str) -> Statistics:
            return groups.hierarchy.statistics(path)

        spawner = CgroupSpawner(
            groups,
            Inquests(groups, read, metrics, logger),
            metrics,
            threads,
            most=most,
            patience_seconds=patience_seconds,
        )
        spawner.start()
        processes = Processes(
            spawner, PrometheusCommandMetrics(registry, "2.39.5"), grace_seconds=0.2
        )
        try:
            yield Place(
                groups=groups, spawner=spawner, processes=processes, registry=registry, log=log
            )
        finally:
            await processes.aclose()
            await spawner.aclose()
            groups.stop()
        assert newcomers.left() == []
        assert len(open_descriptors()) <= before

    return place


@pytest.fixture
async def place(opened: Opened) -> AsyncIterator[Place]:
    async with opened() as place:
        yield place
