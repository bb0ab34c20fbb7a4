"""What Prometheus learns of the kept cat-file processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gitaly.errors import NodeError
from gitaly.git import CatfileCollector, CatfilePool, Git, GitObjects
from tests.git.support import Bare, bare, newcomers
from tests.transport.wires import until


@pytest.fixture
async def pool(git: Git, registry: CollectorRegistry) -> AsyncIterator[CatfilePool]:
    async with CatfilePool(git, maximum=1) as pool:
        registry.register(CatfileCollector(pool.counts, lambda: pool.idle))
        yield pool


@pytest.fixture
def repository(tmp_path: Path) -> Bare:
    repository = bare(tmp_path)
    repository.git("update-ref", "refs/heads/main", repository.commit())
    repository.git("tag", "-a", "-m", "one", "v1", "main")
    return repository


def shown(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"gitaly_catfile_{name}", labels)


async def test_the_first_question_is_a_miss_and_the_next_a_hit(
    git: Git, pool: CatfilePool, registry: CollectorRegistry, repository: Bare
) -> None:
    objects = GitObjects(git, pool)
    for _ in range(3):
        assert await objects.info(repository, b"main") is not None
    assert shown(registry, "cache_total", type="miss") == 1
    assert shown(registry, "cache_total", type="hit") == 2
    assert shown(registry, "cache_total", type="dirty") == 0
    assert shown(registry, "processes") == shown(registry, "processes_total") == 1
    assert shown(registry, "cache_members", type="object_reader") == 1


async def test_lookups_are_told_by_type(
    git: Git, pool: CatfilePool, registry: CollectorRegistry, repository: Bare
) -> None:
    objects = GitObjects(git, pool)
    for revision in (b"main", b"main", b"main^{tree}", b"v1"):
        assert await objects.read(repository, revision) is not None
    await objects.infos(repository, [b"main", b"nothing"])
    assert await objects.read(repository, b"nothing") is None
    found = {kind: shown(registry, "lookups_total", type=kind) for kind in KINDS}
    assert found == {"commit": 2, "tree": 1, "tag": 1, "blob": 0, "info": 2}


KINDS = ("commit", "tree", "tag", "blob", "info")


async def test_who_leaves_in_the_middle_makes_a_process_dirty(
    git: Git, pool: CatfilePool, registry: CollectorRegistry, repository: Bare
) -> None:
    with pytest.raises(NodeError):
        async with pool.process(repository):
            raise NodeError("left")
    assert shown(registry, "cache_total", type="dirty") == 1
    await until(lambda: shown(registry, "processes") == 0)
    assert shown(registry, "processes_total") == 1
    assert shown(registry, "cache_members", type="object_reader") == 0


async def test_a_process_that_is_killed_runs_no_more(
    git: Git, pool: CatfilePool, registry: CollectorRegistry, repository: Bare
) -> None:
    objects = GitObjects(git, pool)
    assert await objects.info(repository, b"main") is not None
    [child] = newcomers.left()
    os.kill(child, signal.SIGKILL)
    await until(lambda: newcomers.left() == [])
    assert await objects.info(repository, b"main") is not None
    await until(lambda: shown(registry, "processes") == 1)
    assert shown(registry, "processes_total") == 2
    assert shown(registry, "cache_total", type="miss") == 2


async def test_a_git_that_cannot_be_started_was_never_a_process(
    pool: CatfilePool, registry: CollectorRegistry, repository: Bare
) -> None:
    os.rename(repository.path, f"{repository.path}.gone")
    with pytest.raises(NodeError):
        async with pool.process(repository) as catfile:
            await asyncio.wait_for(catfile.infos([b"main"]), 10)
    await until(lambda: shown(registry, "processes") == 0)
