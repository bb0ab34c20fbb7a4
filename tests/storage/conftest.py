import os
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from gitaly.git import Git, PosixSpawner, Processes, PrometheusCommandMetrics, find_git
from gitaly.observe.log import Logger
from gitaly.storage import Blocking, Creator, Remover, RepositoryCounter, Storages
from tests.git.support import newcomers, open_descriptors


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "storage"
    root.mkdir()
    return root


@pytest.fixture
def storages(root: Path) -> Storages:
    return Storages([("default", str(root)), ("missing", str(root) + "-missing")])


@pytest.fixture
async def git() -> AsyncIterator[Git]:
    newcomers.start()
    before = open_descriptors()
    metrics = PrometheusCommandMetrics(CollectorRegistry(), "")
    processes = Processes(PosixSpawner(), metrics, grace_seconds=0.2)
    yield Git(find_git("", os.environ), processes, environment=os.environ, cpus=2)
    await processes.aclose()
    assert newcomers.left() == []
    assert Counter(open_descriptors()) <= Counter(before)


@pytest.fixture
async def blocking() -> AsyncIterator[Blocking]:
    with ThreadPoolExecutor(4) as executor:
        yield Blocking(executor)


@pytest.fixture
def counter() -> RepositoryCounter:
    return RepositoryCounter()


@pytest.fixture
def creator(git: Git, blocking: Blocking, counter: RepositoryCounter) -> Creator:
    return Creator(git, blocking, counter)


@pytest.fixture
def log() -> structlog.testing.LogCapture:
    return structlog.testing.LogCapture()


@pytest.fixture
def logger(log: structlog.testing.LogCapture) -> Logger:
    logger: Logger = structlog.wrap_logger(
        None, processors=[log], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    return logger


@pytest.fixture
def forgotten() -> list[str]:
    return []


@pytest.fixture
def remover(
    blocking: Blocking, counter: RepositoryCounter, logger: Logger, forgotten: list[str]
) -> Remover:
    return Remover(blocking, counter, logger, forgotten.append)
