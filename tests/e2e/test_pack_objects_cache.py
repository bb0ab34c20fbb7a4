"""Real clients in front of the pack-objects cache: storms, formats, and nodes that are killed."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import Way, commit, finished, is_sound, run_git
from tests.e2e.conftest import make_bare, make_work
from tests.e2e.node_process import NodeProcess, wait_until

CACHE = "[pack_objects_cache]\nenabled = true\nmin_occurrences = 0\nbackpressure = false\n"
Make = Callable[[str], NodeProcess]


@pytest.fixture
def caching(own_node: Make) -> Iterator[NodeProcess]:
    node = own_node(CACHE)
    yield node
    assert node.errors() == []


def packs(node: NodeProcess) -> list[dict[str, Any]]:
    """The calls of hook programs."""
    lines = node.lines()
    wanted = "PackObjectsHookWithSidechannel"
    return [line for line in lines if line.get("grpc.method") == wanted and "grpc.code" in line]


def computed(node: NodeProcess) -> int:
    return sum("pack_objects_cache.generated_bytes" in line for line in packs(node))


def cache_files(node: NodeProcess) -> list[Path]:
    cache = node.storage / "+gitaly/PackObjectsCache"
    return [path for path in cache.glob("??/*") if path.is_file()]


def objects(repository: Path) -> list[str]:
    """Every object: id, type, size."""
    return sorted(
        run_git(
            "cat-file", "--batch-all-objects", "--batch-check", "--unordered", cwd=repository
        ).splitlines()
    )


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("helper", ()),
        ("ssh", ()),
        ("ssh", ("--depth=2",)),
        ("helper", ("--filter=blob:none",)),
    ],
)
def test_every_clone_of_a_storm_has_what_an_uncached_one_has(
    caching: NodeProcess,
    node: NodeProcess,
    work: Path,
    name: str,
    tmp_path: Path,
    program: str,
    options: tuple[str, ...],
) -> None:
    for number in range(20):
        commit(work, f"commit {number}", f"file{number % 5}")
    make_bare(caching, name, source=work)
    make_bare(node, name, source=work)
    plain = Way(node=node, program=program, repository=name)
    uncached = plain.clone(tmp_path / "uncached", "--bare", *options)
    way = Way(node=caching, program=program, repository=name)
    copies = [tmp_path / f"copy{number}" for number in range(22)]
    clones = [way.start("clone", "--bare", "-q", *options, way.url, str(x)) for x in copies]
    assert [finished(clone).code for clone in clones] == [0] * 22
    again = way.clone(tmp_path / "again", "--bare", *options)
    wanted = objects(uncached)
    for copy in (*copies, again):
        assert objects(copy) == wanted
        if "--filter=blob:none" not in options:
            assert is_sound(copy)
    wait_until(lambda: len(packs(caching)) == 23, "the last line of the log")
    assert computed(caching) == 1


@pytest.mark.parametrize("version", [0, 2])
def test_a_shallow_clone_is_deepened_and_filled(
    caching: NodeProcess, work: Path, name: str, tmp_path: Path, version: int
) -> None:
    make_bare(caching, name, source=work)
    way = Way(node=caching, repository=name, version=version)
    for number in range(2):
        copy = way.clone(tmp_path / f"copy{number}", "--depth=1")
        way.git("fetch", "--quiet", "--deepen=1", "origin", cwd=copy)
        assert run_git("rev-list", "--count", "HEAD", cwd=copy) == "2"
        way.git("fetch", "--quiet", "--unshallow", "origin", cwd=copy)
        assert run_git("rev-list", "--count", "HEAD", cwd=copy) == "3"
        assert is_sound(copy)
    wait_until(lambda: len(packs(caching)) == 8, "the last line of the log")  # tags are followed
    assert computed(caching) == 4


def test_sha256_repositories_are_cached_too(
    caching: NodeProcess, name: str, tmp_path: Path
) -> None:
    work = make_work(tmp_path / "work", "--object-format=sha256")
    make_bare(caching, name, source=work)
    way = Way(node=caching, repository=name)
    for number in range(2):
        copy = way.clone(tmp_path / f"copy{number}")
        assert len(run_git("rev-parse", "HEAD", cwd=copy)) == 64
        assert is_sound(copy)
    wait_until(lambda: len(packs(caching)) == 2, "the last line of the log")
    assert computed(caching) == 1


def test_a_push_between_two_clones_is_in_the_second(
    caching: NodeProcess, work: Path, name: str, tmp_path: Path
) -> None:
    make_bare(caching, name, source=work)
    way = Way(node=caching, repository=name)
    way.clone(tmp_path / "before")
    new = commit(work, "four")
    way.git("push", "--quiet", way.url, "main", cwd=work)
    copy = way.clone(tmp_path / "after")
    assert run_git("rev-parse", "HEAD", cwd=copy) == new
    assert is_sound(copy)


def test_a_node_that_is_killed_leaves_nothing_that_its_successor_serves(
    caching: NodeProcess, big: Path, name: str, tmp_path: Path
) -> None:
    make_bare(caching, name, source=big)
    way = Way(node=caching, repository=name)
    client = way.start("clone", "--bare", "--quiet", way.url, str(tmp_path / "broken"))
    wait_until(
        lambda: any(path.stat().st_size > 1_000_000 for path in cache_files(caching)),
        "the cache to be written",
    )
    caching.kill()
    assert finished(client).code != 0
    left = set(cache_files(caching))
    assert left != set()
    caching.start()
    wait_until(lambda: not left & set(cache_files(caching)), "the sweep")
    assert is_sound(way.clone(tmp_path / "copy", "--bare"))


def test_a_client_that_stalls_holds_no_git(
    caching: NodeProcess, big: Path, name: str, tmp_path: Path
) -> None:
    make_bare(caching, name, source=big)
    way = Way(node=caching, repository=name)
    stalled = way.start("clone", "--bare", "--quiet", way.url, str(tmp_path / "stalled"))
    wait_until(lambda: cache_files(caching) != [], "the cache to be written")
    os.killpg(stalled.pid, signal.SIGSTOP)
    others = [
        way.start("clone", "--bare", "--quiet", way.url, str(tmp_path / f"copy{number}"))
        for number in range(3)
    ]
    assert [finished(other).code for other in others] == [0] * 3
    os.killpg(stalled.pid, signal.SIGCONT)
    assert finished(stalled).code == 0
    assert is_sound(tmp_path / "stalled")
    wait_until(lambda: len(packs(caching)) == 4, "the last line of the log")
    assert computed(caching) == 1


def test_without_the_cache_a_limit_still_intercepts_packs(
    own_node: Make, work: Path, name: str, tmp_path: Path
) -> None:
    limiting = own_node("[pack_objects_limiting]\nmax_concurrency = 10\n")
    make_bare(limiting, name, source=work)
    way = Way(node=limiting, repository=name)
    for number in range(2):
        assert is_sound(way.clone(tmp_path / f"copy{number}"))
    wait_until(lambda: len(packs(limiting)) == 2, "the last line of the log")
    assert computed(limiting) == 2
    assert cache_files(limiting) == []
