import gc
import os
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from gitaly.git import (
    Git,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
    find_git,
    keep_inherited_descriptors,
)
from tests.git.support import children_of, open_descriptors


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def processes(registry: CollectorRegistry) -> AsyncIterator[Processes]:
    """Children whose grace period is short; afterwards none is left, nor any descriptor."""
    keep_inherited_descriptors()
    before = open_descriptors()
    processes = Processes(
        PosixSpawner(), PrometheusCommandMetrics(registry, "2.39.5"), grace_seconds=0.2
    )
    yield processes
    await processes.aclose()
    assert children_of(os.getpid()) == []
    gc.collect()  # handles of libgit2 close their packs
    assert open_descriptors() == before


@pytest.fixture
def git(processes: Processes) -> Git:
    return Git(find_git("", os.environ), processes, environment=os.environ, cpus=2)
