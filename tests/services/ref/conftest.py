from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitaly.git import Git, Objects, References
from gitaly.services.ref import RefServicer
from gitaly.storage import Storages
from tests.git.support import Bare, run_git
from tests.services.readers import GITS, READERS, a_git, readers


@pytest.fixture(params=GITS, ids=lambda path: path or "git")
async def git(request: pytest.FixtureRequest) -> AsyncIterator[Git]:
    async with a_git(request.param) as git:
        yield git


@pytest.fixture(params=READERS)
async def reading(
    git: Git, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Objects, References]]:
    async with readers(git, request.param) as reading:
        yield reading


@pytest.fixture(params=["sha1"])
def bare(root: Path, request: pytest.FixtureRequest) -> Bare:
    """`@pytest.mark.parametrize("bare", ["sha256"], indirect=True)` for the other format."""
    path = str(root / "a.git")
    flags = ["--bare", "--quiet", "--template=", f"--object-format={request.param}"]
    run_git("init", *flags, path)
    return Bare(path)


@pytest.fixture
def refs(storages: Storages, git: Git, reading: tuple[Objects, References]) -> RefServicer:
    objects, references = reading
    return RefServicer(storages, git, objects=objects, references=references)
