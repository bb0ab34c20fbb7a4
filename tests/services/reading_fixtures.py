"""Fixtures of all tests that run with each way to read: nobody can tell which one answered."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitaly.git import (
    CatfilePool,
    Git,
    GitObjects,
    Handles,
    InProcessObjects,
    Objects,
    References,
)
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
async def pool(git: Git) -> AsyncIterator[CatfilePool]:
    async with CatfilePool(git) as pool:
        yield pool


@pytest.fixture(params=READERS)
async def objects(
    git: Git, pool: CatfilePool, request: pytest.FixtureRequest
) -> AsyncIterator[Objects]:
    """Over a pool that the test may look into."""
    by_git = GitObjects(git, pool)
    if request.param == "git":
        yield by_git
        return
    handles = Handles(git.formats)
    yield InProcessObjects(handles, by_git)
    handles.clear()
