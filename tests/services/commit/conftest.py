from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from gitaly.git import CatfilePool, Git, GitObjects, Handles, InProcessObjects, Objects
from gitaly.git.diffs import HeadAttributes
from gitaly.git.references import References
from gitaly.services.commit import CommitServicer
from gitaly.storage import Blocking, Storages
from tests.services.commit.support import History, recorded


@pytest.fixture
async def pool(git: Git) -> AsyncIterator[CatfilePool]:
    async with CatfilePool(git) as pool:
        yield pool


@pytest.fixture(params=["git", "in process"])
async def objects(
    git: Git, pool: CatfilePool, request: pytest.FixtureRequest
) -> AsyncIterator[Objects]:
    """Each test runs with both: nobody can tell which one answered."""
    by_git = GitObjects(git, pool)
    if request.param == "git":
        yield by_git
        return
    handles = Handles(git.formats)
    yield InProcessObjects(handles, by_git)
    handles.clear()


@pytest.fixture
def subcommands(git: Git, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The git subcommands that were started."""
    return recorded(git, monkeypatch)


@pytest.fixture
def commits(
    storages: Storages, git: Git, objects: Objects, references: References
) -> CommitServicer:
    return CommitServicer(
        storages,
        git,
        objects=objects,
        references=references,
        attributes=HeadAttributes(git, objects),
        blocking=Blocking(),
        registry=CollectorRegistry(),
    )


@pytest.fixture
def history(bare: object) -> History:
    return History(bare)  # type: ignore[arg-type]  # the fixture's type lives elsewhere
