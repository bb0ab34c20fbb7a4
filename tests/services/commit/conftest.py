import pytest
from prometheus_client import CollectorRegistry

from gitaly.git import NO_SIGNING_KEYS, Git, Objects, SigningKeyFiles
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
def signing_keys() -> SigningKeyFiles:
    """The node's; a test that wants some overrides this."""
    return NO_SIGNING_KEYS


@pytest.fixture
def commits(
    storages: Storages,
    git: Git,
    objects: Objects,
    references: References,
    signing_keys: SigningKeyFiles,
) -> CommitServicer:
    return CommitServicer(
        storages,
        git,
        objects=objects,
        references=references,
        attributes=HeadAttributes(git, objects),
        blocking=Blocking(),
        registry=CollectorRegistry(),
        signing_keys=signing_keys,
    )


@pytest.fixture
def history(bare: object) -> History:
    return History(bare)  # type: ignore[arg-type]  # the fixture's type lives elsewhere
