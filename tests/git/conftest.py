import gc
import os
from collections import Counter
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
from tests.git.support import newcomers, open_descriptors


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def processes(registry: CollectorRegistry) -> AsyncIterator[Processes]:
    """Children whose grace period is short; afterwards none is left, nor any descriptor."""
    keep_inherited_descriptors()
    newcomers.start()
    before = open_descriptors()
    processes = Processes(
        PosixSpawner(), PrometheusCommandMetrics(registry, "2.39.5"), grace_seconds=0.2
    )
    yield processes
    await processes.aclose()
    assert newcomers.left() == []
    gc.collect()  # handles of libgit2 close their packs
    assert Counter(open_descriptors()) <= Counter(before)  # gRPC closes some of its own late


@pytest.fixture
def git(processes: Processes) -> Git:
    return Git(find_git("", os.environ), processes, environment=os.environ, cpus=2)
