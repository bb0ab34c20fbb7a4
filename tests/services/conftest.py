import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from gitaly.git import (
    Git,
    GitReferences,
    Handles,
    InProcessReferences,
    Objects,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
    find_git,
)
from gitaly.services.repository import RepositoryInformationServicer, RepositoryServicer
from gitaly.services.voters import Voters
from gitaly.storage import Blocking, Creator, Remover, RepositoryCounter, Storages
from gitaly.transactions import TransactionManager
from gitaly.transport.backchannel import Backchannels
from gitaly.transport.connections import Connections
from tests.git.support import Bare, run_git
from tests.services.readers import readers


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
    metrics = PrometheusCommandMetrics(CollectorRegistry(), "")
    processes = Processes(PosixSpawner(), metrics)
    yield Git(find_git("", os.environ), processes, environment=os.environ, cpus=2)
    await processes.aclose()


@pytest.fixture
async def references(git: Git) -> AsyncIterator[InProcessReferences]:
    handles = Handles(git.formats)
    yield InProcessReferences(handles, GitReferences(git))
    handles.clear()


@pytest.fixture
def repositories(storages: Storages, git: Git) -> RepositoryServicer:
    blocking, counter, logger = Blocking(), RepositoryCounter(), structlog.get_logger()
    backchannels = Backchannels(Connections())
    manager = TransactionManager(backchannels, CollectorRegistry(), (), logger)
    return RepositoryServicer(
        storages,
        creator=Creator(git, blocking, counter),
        remover=Remover(blocking, counter, logger, lambda _: None),
        voters=Voters(manager),
    )


@pytest.fixture
def information(
    storages: Storages, git: Git, references: InProcessReferences
) -> RepositoryInformationServicer:
    return RepositoryInformationServicer(
        storages, references=references, formats=git.formats, blocking=Blocking()
    )


@pytest.fixture
async def objects(git: Git) -> AsyncIterator[Objects]:
    async with readers(git, "in process") as (objects, _):
        yield objects


@pytest.fixture
def bare(root: Path) -> Bare:
    path = str(root / "a.git")
    run_git("init", "--bare", "--quiet", "--template=", path)
    return Bare(path)
