from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitaly.git import Git, Objects, PosixSpawner, Spawner
from gitaly.git.diffs import Diffs, HeadAttributes
from gitaly.services.analysis import AnalysisServicer
from gitaly.services.diff import DiffServicer
from gitaly.services.repository import RawChangesServicer
from gitaly.storage import Blocking, Storages
from tests.services.diff.support import Asked
from tests.services.readers import GITS, READERS, a_git, readers


@pytest.fixture
def spawner() -> Spawner:
    return PosixSpawner()


@pytest.fixture(params=GITS, ids=lambda path: path or "git")
async def git(request: pytest.FixtureRequest, spawner: Spawner) -> AsyncIterator[Git]:
    """Debian's, and the newest one if there is one; afterwards none runs any more."""
    async with a_git(request.param, spawner) as git:
        yield git


@pytest.fixture(params=READERS)
async def objects(git: Git, request: pytest.FixtureRequest) -> AsyncIterator[Objects]:
    async with readers(git, request.param) as (objects, _):
        yield objects


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
