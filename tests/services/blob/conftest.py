import pytest

from gitaly.git import Git, Objects, References
from gitaly.services.blob import BlobServicer
from gitaly.storage import Storages
from tests.services.reading_fixtures import bare, git, reading

__all__ = ["bare", "blobs", "git", "reading"]


@pytest.fixture
def blobs(storages: Storages, git: Git, reading: tuple[Objects, References]) -> BlobServicer:
    return BlobServicer(storages, git, reading[0])
