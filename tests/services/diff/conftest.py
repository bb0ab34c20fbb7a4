import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gitaly.git import (
    CatfilePool,
    Git,
    GitObjects,
    Handles,
    InProcessObjects,
    Objects,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
    Spawner,
    find_git,
    keep_inherited_descriptors,
)
from gitaly.git.diffs import Diffs, HeadAttributes
from gitaly.services.analysis import AnalysisServicer
from gitaly.services.diff import DiffServicer
from gitaly.services.repository import RawChangesServicer
from gitaly.storage import Blocking, Storages
from tests.git.support import newcomers
from tests.services.diff.support import Asked

GITS = [path for path in ("", os.environ.get("GIT_NEWEST")) if path is not None]


@pytest.fixture
def spawner() -> Spawner:
    return PosixSpawner()


@pytest.fixture(params=GITS, ids=lambda path: path or "git")
async def git(request: pytest.FixtureRequest, spawner: Spawner) -> AsyncIterator[Git]:
    """Debian's, and the newest one if there is one; afterwards none runs any more."""
    keep_inherited_descriptors()
    newcomers.start()
    metrics = PrometheusCommandMetrics(CollectorRegistry(), "")
    processes = Processes(spawner, metrics, grace_seconds=0.2)
    yield Git(find_git(request.param, os.environ), processes, environment=os.environ, cpus=2)
    await processes.aclose()
    assert newcomers.left() == []


@pytest.fixture(params=["git", "in process"])
async def objects(git: Git, request: pytest.FixtureRequest) -> AsyncIterator[Objects]:
    async with CatfilePool(git) as pool:
        by_git = GitObjects(git, pool)
        if request.param == "git":
            yield by_git
            return
        handles = Handles(git.formats)
        yield InProcessObjects(handles, by_git)
        handles.clear()


@pytest.fixture
def diffs(git: Git, objects: Objects) -> Diffs:
    return Diffs(git, HeadAttributes(git, objects))


@pytest.fixture
def servicer(storages: Storages, git: Git, diffs: Diffs, objects: Objects) -> DiffServicer:
    return DiffServicer(storages, diffs, objects=objects, formats=git.formats, blocking=Blocking())


@pytest.fixture
def raw_changes(storages: Storages, git: Git, diffs: Diffs, objects: Objects) -> RawChangesServicer:
    return RawChangesServicer(storages, diffs, objects=objects, formats=git.formats)


@pytest.fixture
def analysis(storages: Storages, objects: Objects) -> AnalysisServicer:
    return AnalysisServicer(storages, objects)


@pytest.fixture
def asked(root: Path, request: pytest.FixtureRequest) -> Asked:
    """A repository; `@pytest.mark.parametrize("asked", ["sha256"], indirect=True)`."""
    return Asked(root, getattr(request, "param", "sha1"))
