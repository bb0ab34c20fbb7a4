import gc
import os
from collections import Counter
from collections.abc import AsyncIterator
from resource import struct_rusage

import pytest
import structlog

from gitaly.git import (
    CommandLabel,
    Git,
    Objects,
    PosixSpawner,
    Processes,
    find_git,
    keep_inherited_descriptors,
)
from gitaly.services.repository import (
    ArchiveServicer,
    AttributesServicer,
    ConsistencyServicer,
    ExportServicer,
    ReachabilityServicer,
    SearchServicer,
)
from gitaly.storage import Blocking, Storages
from tests.git.support import Bare, newcomers, open_descriptors, run_git


class Started:
    """Counts commands as the node's metrics do; remembers which ran."""

    def __init__(self) -> None:
        self.subcommands: list[str] = []

    def started(self, label: CommandLabel, forking_seconds: float) -> None:
        self.subcommands.append(label.subcmd)

    def finished(self, label: CommandLabel, usage: struct_rusage, real_seconds: float) -> None:
        pass

    def refused(self, subcommand: str) -> None:
        pass


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
async def git(started: Started) -> AsyncIterator[Git]:
    """The git on PATH, or GIT_NEWEST. Afterwards no child is left, and no descriptor."""
    keep_inherited_descriptors()
    newcomers.start()
    before = open_descriptors()
    processes = Processes(PosixSpawner(), started, grace_seconds=0.2)
    yield Git(
        find_git(os.environ.get("GIT_NEWEST", ""), os.environ),
        processes,
        environment=os.environ,
        cpus=2,
    )
    await processes.aclose()
    assert newcomers.left() == []
    gc.collect()
    assert Counter(open_descriptors()) <= Counter(before)


@pytest.fixture(params=["sha1", "sha256"])
def either(root: object, request: pytest.FixtureRequest) -> Bare:
    """An empty repository of either object format."""
    path = f"{root}/a.git"
    run_git("init", "--bare", "--quiet", "--template=", f"--object-format={request.param}", path)
    return Bare(path)


@pytest.fixture
def archives(storages: Storages, git: Git, objects: Objects) -> ArchiveServicer:
    return ArchiveServicer(storages, git, objects)


@pytest.fixture
def attributes(storages: Storages, git: Git, objects: Objects) -> AttributesServicer:
    return AttributesServicer(storages, git, objects, Blocking())


@pytest.fixture
def consistency(storages: Storages, git: Git) -> ConsistencyServicer:
    return ConsistencyServicer(storages, git)


@pytest.fixture
def export(storages: Storages, git: Git) -> ExportServicer:
    return ExportServicer(storages, git, Blocking(), structlog.get_logger())


@pytest.fixture
def reachability(storages: Storages, git: Git) -> ReachabilityServicer:
    return ReachabilityServicer(storages, git)


@pytest.fixture
def search(storages: Storages, git: Git) -> SearchServicer:
    return SearchServicer(storages, git)
