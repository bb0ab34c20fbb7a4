import pytest

from gitaly.git import Git, Objects, References
from gitaly.services.ref import RefServicer
from gitaly.storage import Storages
from tests.services.reading_fixtures import bare, git, reading

__all__ = ["bare", "git", "reading", "refs"]


@pytest.fixture
def refs(storages: Storages, git: Git, reading: tuple[Objects, References]) -> RefServicer:
    objects, references = reading
    return RefServicer(storages, git, objects=objects, references=references)
