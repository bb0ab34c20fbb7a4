"""The newest commits that are read in process are those of `git log`, in its order."""

import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gitaly.git import MOST_NEWEST, Git, Objects
from tests.git.support import ENV, GIT, Bare, bare
from tests.services.readers import readers

COMMITS = 80
START = 1_700_000_000


@pytest.fixture
async def objects(git: Git) -> AsyncIterator[Objects]:
    async with readers(git, "in process") as (objects, _):
        yield objects


@pytest.fixture
def repository(tmp_path: Path) -> Bare:
    return bare(tmp_path)


def tangled(seed: int) -> Iterator[bytes]:
    """A fast-import stream: merges, roots, dates that are equal or go back."""
    chance = random.Random(seed)
    for number in range(1, COMMITS + 1):
        when = START + 60 * (number // 4) + chance.choice([0, 0, 0, 60, -900, 7200])
        yield b"commit refs/heads/c%d\nmark :%d\n" % (number, number)
        yield b"author Jane <jane@example.com> %d +0000\n" % chance.randrange(START)
        yield b"committer Jane <jane@example.com> %d -0330\ndata 2\nm\n\n" % when
        recent = range(max(1, number - 9), number)
        parents = chance.sample(recent, min(len(recent), chance.choice([0, 1, 1, 1, 2, 2, 3, 5])))
        for place, parent in enumerate(parents):
            yield b"%s :%d\n" % (b"merge" if place else b"from", parent)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def imported(repository: Bare, stream: Iterator[bytes]) -> None:
    run_on(repository, ["fast-import", "--quiet"], b"".join(stream))


def run_on(repository: Bare, command: list[str], data: bytes) -> bytes:
    done = subprocess.run(
        [*GIT, "--git-dir", repository.path, *command],
        input=data,
        check=True,
        capture_output=True,
        env=ENV,
    )
    return done.stdout


async def newest(objects: Objects, repository: Bare, revision: str, count: int) -> list[str] | None:
    found = await objects.newest_commits(repository, revision.encode(), count)
    return None if found is None else [one.object_id for one in found]


def as_git_logs(repository: Bare, revision: str, count: int) -> list[str]:
    return repository.git("log", "--format=%H", f"--max-count={count}", revision).split()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("has_graph", [False, True])
async def test_they_come_in_the_order_of_git_log(
    objects: Objects, repository: Bare, seed: int, has_graph: bool
) -> None:
    imported(repository, tangled(seed))
    if has_graph:
        repository.git("commit-graph", "write", "--reachable")
    for tip, count in ((COMMITS, 100), (COMMITS - 1, 20), (COMMITS // 2, 7), (3, 100)):
        revision = f"c{tip}"
        expected = as_git_logs(repository, revision, count)
        assert await newest(objects, repository, revision, count) == expected


async def test_they_are_told_with_what_they_say(objects: Objects, repository: Bare) -> None:
    imported(repository, tangled(7))
    found = await objects.newest_commits(repository, b"c80", 3)
    assert found == await objects.read_many(
        repository, [one.object_id.encode() for one in found or ()]
    )


async def test_a_tag_leads_to_the_history_of_its_commit(objects: Objects, repository: Bare) -> None:
    imported(repository, tangled(8))
    repository.git("tag", "-a", "-m", "one", "v1", "c60")
    assert await newest(objects, repository, "v1", 9) == as_git_logs(repository, "v1", 9)


async def test_what_git_must_walk_is_left_to_it(objects: Objects, repository: Bare) -> None:
    imported(repository, tangled(9))
    repository.git("update-ref", "refs/heads/--all", "c80")
    for revision in ("c1..c9", "^c9", "c9^!", "c9^@", "--all", "none", "c9^{tree}", "c9:", "@{u}"):
        assert await newest(objects, repository, revision, 5) is None, revision
    assert await newest(objects, repository, "c80", MOST_NEWEST + 1) is None


@pytest.mark.parametrize("file", ["shallow", "info/grafts"])
async def test_histories_that_are_cut_off_are_left_to_git(
    objects: Objects, repository: Bare, file: str
) -> None:
    imported(repository, tangled(10))
    write(Path(repository.path, file), repository.git("rev-parse", "c80") + "\n")
    assert await newest(objects, repository, "c80", 5) is None


async def test_replacements_do_not_count(objects: Objects, repository: Bare) -> None:
    imported(repository, tangled(11))
    repository.git("replace", "c80", "c70")
    expected = repository.git("--no-replace-objects", "rev-list", "--max-count=9", "c80").split()
    assert await newest(objects, repository, "c80", 9) == expected


@pytest.mark.parametrize(
    "committer",
    [
        b"Jane <jane@example.com> 99999999999 +0000",
        b"Jane <jane@example.com> -5 +0000",
        b"Jane <a> <b> 1700000000 +0000",
        b"Jane 1700000000 +0000",
        b"Jane <jane@example.com>",
        b"Jane <jane@example.com> 017 +0000",
    ],
)
async def test_a_commit_with_an_odd_date_is_left_to_git(
    objects: Objects, repository: Bare, committer: bytes
) -> None:
    tree = repository.git("mktree").encode()
    odd = b"tree %s\nauthor Jane <j> 1 +0000\ncommitter %s\n\nodd\n" % (tree, committer)
    command = ["hash-object", "-t", "commit", "-w", "--literally", "--stdin"]
    child = run_on(repository, command, odd).decode().strip()
    tip = repository.commit("tip", child)
    assert await newest(objects, repository, tip, 5) is None
    assert await newest(objects, repository, child, 1) is None


async def test_a_parent_that_is_missing_is_left_to_git(objects: Objects, repository: Bare) -> None:
    parent = repository.commit("gone")
    tip = repository.commit("tip", parent)
    os.unlink(f"{repository.path}/objects/{parent[:2]}/{parent[2:]}")
    assert await newest(objects, repository, tip, 1) is None


async def test_a_merge_of_very_many_is_left_to_git(objects: Objects, repository: Bare) -> None:
    tree = repository.git("mktree").encode()
    lines: list[bytes] = []
    for number in range(1, 101):
        lines.append(b"commit refs/heads/p%d\nmark :%d\n" % (number, number))
        lines.append(b"committer J <j> %d +0000\ndata 0\n" % (START + number))
    imported(repository, iter(lines))
    parents = run_on(repository, ["for-each-ref", "--format=parent %(objectname)"], b"")
    octopus = b"tree %s\n%sauthor J <j> 1 +0000\ncommitter J <j> 9 +0000\n\nm\n" % (tree, parents)
    command = ["hash-object", "-t", "commit", "-w", "--literally", "--stdin"]
    tip = run_on(repository, command, octopus).decode().strip()
    assert await newest(objects, repository, tip, 5) is None


async def test_git_itself_never_answers_here(git: Git, repository: Bare) -> None:
    repository.git("update-ref", "refs/heads/main", repository.commit())
    async with readers(git, "git") as (objects, _):
        assert await newest(objects, repository, "main", 1) is None
