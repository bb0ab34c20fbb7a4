"""The last commit of a path that is found in process is that of `git log -1 -- <path>`."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.git import Objects
from gitaly.git.last_commit import MOST_STEPS
from tests.git.support import Bare
from tests.git.test_newest_commits import imported, objects, repository, write

__all__ = ["objects", "repository"]  # fixtures
PATHS = [b"a", b"d/a", b"d/b", b"d", b"d/e/f", b"d/e", b"none", b"a/below", b"d/none/x", b"run"]
NAMES = [b"a", b"d/a", b"d/b", b"d/e/f", b"d/e/g", b"run"]
START = 1_700_000_000


def tangled(seed: int, commits: int = 60) -> Iterator[bytes]:
    """A fast-import stream: files that change, come, go, and change places with directories."""
    chance = random.Random(seed)
    for number in range(1, commits + 1):
        yield b"commit refs/heads/c%d\nmark :%d\n" % (number, number)
        yield b"committer Jane <jane@example.com> %d +0000\ndata 2\nm\n\n" % (START + number)
        recent = range(max(1, number - 6), number)
        parents = chance.sample(recent, min(len(recent), chance.choice([1, 1, 1, 2, 2, 3])))
        for place, parent in enumerate(parents):
            yield b"%s :%d\n" % (b"merge" if place else b"from", parent)
        for name in chance.sample(NAMES, chance.choice([0, 1, 1, 2])):
            kind = chance.choice(["write", "write", "remove", "mode", "file"])
            if kind == "remove":
                yield b"D %s\n" % name
            elif kind == "file" and b"/" in name:  # instead of the directory
                yield b"D d\nM 100644 inline d\ndata 2\nd\n\n"
            else:
                mode = b"100755" if kind == "mode" else b"100644"
                text = b"%d\n" % chance.randrange(3)
                yield b"D d\n" if b"/" in name and chance.random() < 0.1 else b""
                yield b"M %s inline %s\ndata %d\n%s\n" % (mode, name, len(text), text)


def by_git(repository: Bare, revision: str, path: bytes) -> str | None:
    return repository.git("log", "-1", "--format=%H", revision, "--", path.decode()) or None


async def by_us(
    objects: Objects, repository: Bare, revision: str, path: bytes
) -> tuple[str | None, bool]:
    """The answer, and whether git had to go on."""
    found = await objects.last_commit(repository, revision.encode(), path)
    assert found is not None
    if found.rest is None:
        return found.commit, False
    return by_git(repository, found.rest, path), True


@pytest.mark.parametrize("seed", range(8))
async def test_it_is_that_of_git_log(objects: Objects, repository: Bare, seed: int) -> None:
    imported(repository, tangled(seed))
    for revision in ("c60", "c45", "c7"):
        for path in PATHS:
            wanted = by_git(repository, revision, path), False
            assert await by_us(objects, repository, revision, path) == wanted


async def test_git_goes_on_from_where_a_long_walk_has_come(
    objects: Objects, repository: Bare
) -> None:
    stream = [b"commit refs/heads/main\ncommitter J <j@x> 1700000000 +0000\ndata 2\nm\n\n"]
    stream.append(b"M 100644 inline old\ndata 2\nx\n\n")
    for number in range(MOST_STEPS + 20):
        stream.append(b"commit refs/heads/main\ncommitter J <j@x> 1700000000 +0000\ndata 2\nm\n\n")
        stream.append(b"M 100644 inline new\ndata 4\n%03d\n\n" % number)
    imported(repository, iter(stream))
    first = repository.git("rev-list", "--max-parents=0", "main")
    assert await by_us(objects, repository, "main", b"old") == (first, True)
    assert await by_us(objects, repository, "main", b"none") == (None, True)
    newest = repository.git("rev-parse", "main")
    assert await by_us(objects, repository, "main", b"new") == (newest, False)


@pytest.mark.parametrize(
    "path",
    [b".", b"", b"d/", b"/a", b"./a", b"../a", b"a//b", b":a", b":(top)a", b"*", b"a?", b"[a]"],
)
async def test_what_may_be_a_pattern_is_left_to_git(
    objects: Objects, repository: Bare, path: bytes
) -> None:
    imported(repository, tangled(1))
    assert await objects.last_commit(repository, b"c60", path) is None


@pytest.mark.parametrize("revision", [b"none", b"-1", b"c60:a", b"c1..c60", b"^c1"])
async def test_what_is_no_commit_is_left_to_git(
    objects: Objects, repository: Bare, revision: bytes
) -> None:
    imported(repository, tangled(1))
    assert await objects.last_commit(repository, revision, b"a") is None


async def test_histories_that_are_told_otherwise_are_left_to_git(
    objects: Objects, repository: Bare
) -> None:
    imported(repository, tangled(1))
    repository.git("config", "log.follow", "true")
    assert await objects.last_commit(repository, b"c60", b"a") is None
    repository.git("config", "--unset", "log.follow")
    assert await objects.last_commit(repository, b"c60", b"a") is not None
    write(Path(repository.path, "shallow"), repository.git("rev-parse", "c60") + "\n")
    assert await objects.last_commit(repository, b"c60", b"a") is None
