import pytest
from prometheus_client import CollectorRegistry

from gitaly.git import Git, Objects
from gitaly.git.diffs import HeadAttributes
from gitaly.git.references import References
from gitaly.services.commit import CommitServicer
from gitaly.storage import Blocking, Storages
from tests.services.commit.support import History, recorded
from tests.services.reading_fixtures import objects, pool

__all__ = ["commits", "history", "objects", "pool", "subcommands"]


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
