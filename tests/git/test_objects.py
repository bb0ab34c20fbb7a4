"""What reading objects promises, whoever answers: each test runs with both."""

import asyncio
import os
import signal
import subprocess
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha1
from itertools import pairwise
from pathlib import Path

import pytest

from gitaly.errors import Internal, InvalidRequest
from gitaly.git import (
    EMPTY_TREE,
    AmbiguousRevision,
    CatfilePool,
    Git,
    GitObjects,
    Object,
    ObjectInfo,
    Objects,
)
from tests.git.support import ENV, GIT, Bare, bare, newcomers
from tests.services.reading_fixtures import objects, pool
from tests.transport.wires import until

__all__ = ["objects", "pool"]  # fixtures

MISSING = b"1" * 40
LARGE_BYTES = 3 << 20


@pytest.fixture(params=["sha1", "sha256"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Bare:
    return filled(bare(tmp_path, f"--object-format={request.param}"))


def filled(repository: Bare) -> Bare:
    """Three commits with a merge, directories, a submodule, nested tags, and names to confuse."""
    blob = repository.git("hash-object", "-w", "--stdin", data="hello\n")
    other = repository.git("hash-object", "-w", "--stdin", data="other\n")
    submodule = "2" * len(blob)
    inner = repository.git("mktree", data=f"100644 blob {blob}\ta\n120000 blob {other}\tlink\n")
    tree = repository.git(
        "mktree",
        "--missing",
        data=f"100644 blob {blob}\tREADME\n040000 tree {inner}\tdir\n"
        f"160000 commit {submodule}\tsub\n100755 blob {other}\tx-g{blob[:8]}\n",
    )
    first = repository.git("commit-tree", "-m", "first", tree)
    second = repository.git("commit-tree", "-m", "second", "-p", first, inner)
    merge = repository.git("commit-tree", "-m", "merge", "-p", first, "-p", second, tree)
    repository.git("update-ref", "refs/heads/main", merge)
    repository.git("update-ref", "refs/heads/both", first)
    repository.git("update-ref", "refs/tags/both", second)
    repository.git("update-ref", "refs/heads/dir/topic", second)
    repository.git("update-ref", f"refs/heads/{blob[:8]}", second)
    repository.git("update-ref", "refs/remotes/up/main", first)
    repository.git("symbolic-ref", "refs/remotes/up/HEAD", "refs/remotes/up/main")
    repository.git("symbolic-ref", "refs/heads/dangling", "refs/heads/none")
    repository.git("tag", "-a", "-m", "one", "v1", merge)
    repository.git("tag", "-a", "-m", "two", "v2", "v1")
    repository.git("tag", "-a", "-m", "tree", "treetag", tree)
    repository.git("update-ref", "refs/tags/blobtag", blob)
    return repository


REVISIONS = rb"""
HEAD main @ heads/main refs/heads/main refs/tags/main dir/topic both tags/both heads/both up
remotes/up v1 v2 treetag blobtag dangling none refs/heads/none refs/heads refs//heads/main HEAD^0
main^ main^1 main^2 main^3 main~0 main~1 main~2 main~99 main^2~1 main^2^ v2~1 v2^{} v2^{commit}
v2^{tree} v2^{tag} v2^{blob} v2^{object} main^{tag} main^{blob} main^{tree} blobtag^{blob} main^1^2
blobtag^{commit} treetag^{} treetag^{tree} treetag^{commit} treetag:README none^{commit} ^{commit}
main: main:README main:README/ main:dir main:dir/ main:dir/a main:dir//a main:/dir main:dir/a/
main:dir/none main:sub main:sub/x main:none v2:dir/a both:dir main^2:a HEAD:dir/link main:. main:..
blobtag:x none:x main^{tree}:dir/a main^{tree}^{tree} main^{tree}~1 main^{/second} :/first main@{x}
main..both main...both ^main main^! main^@ main^- v1-0-gabcdef 12 1234 FETCH_HEAD main~x main^{x}
config main:a:b worktrees/x/HEAD a{b main^{commit}^{tree}:dir
""".split()
ODD_REVISIONS = [b"\xff\xfe", b"main:\xff", b"main:a b", b"main:a\nb", b"a\nb", b"a b", b""]


def write(path: str, text: str) -> None:
    file = Path(path)
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_text(text)


def asked_freshly(repository: Bare, revision: bytes) -> bytes:
    """What a git of its own says."""
    done = subprocess.run(
        [*GIT, "--git-dir", repository.path, "cat-file", "-z", "--batch-command"],
        input=b"info " + revision + b"\0",
        capture_output=True,
        check=True,
        env=ENV,
    )
    return done.stdout.removesuffix(b"\n")


async def test_revisions_lead_where_git_says(objects: Objects, repository: Bare) -> None:
    revisions = REVISIONS + ODD_REVISIONS
    for revision, found in zip(revisions, await objects.infos(repository, revisions), strict=True):
        expected = asked_freshly(repository, revision)
        if expected.endswith((b" missing", b" submodule")):
            assert found is None, revision
        else:
            assert found is not None, revision
            assert (
                b"%b %b %d" % (found.object_id.encode(), found.type.encode(), found.size)
                == expected
            ), revision


async def test_what_git_describe_prints_leads_to_its_commit(
    objects: Objects, repository: Bare
) -> None:
    main = repository.git("rev-parse", "main")
    for end in ("", "^{commit}", "~0", "^{tree}", ":", ":dir"):
        revision = f"v1-0-g{main[:8]}{end}"
        found = await objects.info(repository, revision.encode())
        assert found is not None, revision
        assert found.object_id == repository.git("rev-parse", f"main{end}"), revision


@pytest.mark.parametrize("packed", [False, True])
async def test_objects_are_read_whole(objects: Objects, repository: Bare, packed: bool) -> None:
    if packed:
        repository.git("repack", "-adq")
        repository.git("pack-refs", "--all")
    for revision in ("HEAD", "v2", "main:dir", "main:README"):
        found = await objects.read(repository, revision.encode())
        assert found is not None
        kind = repository.git("cat-file", "-t", revision)
        assert (found.object_id, found.type) == (repository.git("rev-parse", revision), kind)
        assert len(found.data) == int(repository.git("cat-file", "-s", revision))
    readme = await objects.read(repository, b"main:README")
    assert readme is not None
    assert readme.data == b"hello\n"


async def test_abbreviations_lead_to_the_one_object_that_they_fit(
    objects: Objects, repository: Bare
) -> None:
    commit = repository.git("rev-parse", "main")
    for digits in (7, 39):
        for text in (commit[:digits], commit[:digits].upper()):
            found = await objects.info(repository, text.encode())
            assert found is not None
            assert found.object_id == commit
    assert await objects.info(repository, commit[:3].encode()) is None


async def test_an_ambiguous_abbreviation_is_an_error(objects: Objects, tmp_path: Path) -> None:
    repository = bare(tmp_path)
    texts = [f"{number}\n" for number in range(1500)]  # two of so many begin alike
    ids = sorted((sha1(f"blob {len(x)}\0{x}".encode()).hexdigest(), x) for x in texts)
    one, other = next((a, b) for a, b in pairwise(ids) if a[0][:4] == b[0][:4])
    for object_id, text in (one, other):
        assert repository.git("hash-object", "-w", "--stdin", data=text) == object_id
    prefix = one[0][:4]
    with pytest.raises(AmbiguousRevision) as caught:
        await objects.info(repository, prefix.encode())
    assert caught.value.message == f'invalid info line: "{prefix} ambiguous"'


async def test_many_are_answered_in_the_order_of_the_questions(
    objects: Objects, repository: Bare
) -> None:
    revisions = [b"none", b"main", b"main:a\nb", b"v1", b"main", b""] * 300
    infos = await objects.infos(repository, revisions)
    found = await objects.read_many(repository, revisions)
    assert [info and info.type for info in infos] == [
        None,
        "commit",
        None,
        "tag",
        "commit",
        None,
    ] * 300
    assert [one and one.type for one in found] == [info and info.type for info in infos]


async def test_the_empty_tree_is_always_there(objects: Objects, tmp_path: Path) -> None:
    repository = bare(tmp_path)
    empty = EMPTY_TREE["sha1"]
    assert await objects.info(repository, empty.encode()) == ObjectInfo(empty, "tree", 0)
    assert await objects.read(repository, empty.encode()) == Object(empty, "tree", b"")
    assert await objects.info(repository, f"{empty}^{{tree}}".encode()) == (empty, "tree", 0)


async def test_nul_is_refused(objects: Objects, repository: Bare) -> None:
    for call in (objects.info, objects.read, objects.resolve):
        with pytest.raises(InvalidRequest, match="NUL"):
            await call(repository, b"main\0info HEAD")


async def test_resolving_does_not_ask_for_the_object(objects: Objects, repository: Bare) -> None:
    commit = repository.git("rev-parse", "main")
    absent = b"9" * len(commit)
    assert await objects.resolve(repository, absent) == absent.decode()
    assert await objects.resolve(repository, commit.upper().encode()) == commit
    assert await objects.resolve(repository, b"main:sub") == "2" * len(commit)
    assert await objects.resolve(repository, b"main") == commit
    assert await objects.resolve(repository, b"none") is None
    assert await objects.resolve(repository, b"main:none") is None


@pytest.mark.parametrize("size", [0, 1, 100_000, LARGE_BYTES])
@pytest.mark.parametrize("limit", [0, 1, 131_073, LARGE_BYTES, LARGE_BYTES + 1])
async def test_contents_come_in_pieces(
    objects: Objects, tmp_path: Path, size: int, limit: int
) -> None:
    repository = bare(tmp_path)
    content = b"0123456789abcdef" * (size // 16 + 1)
    (tmp_path / "blob").write_bytes(content[:size])
    blob = repository.git("hash-object", "-w", str(tmp_path / "blob"))
    info = await objects.info(repository, blob.encode())
    assert info == ObjectInfo(blob, "blob", size)
    for _ in range(2):  # the second time with what the first has left behind
        async with aclosing(objects.pieces(repository, info, limit)) as pieces:
            got = [piece async for piece in pieces]
        assert b"".join(got) == content[:size][:limit]
        assert all(0 < len(piece) <= 131_072 for piece in got)


async def test_a_content_that_is_left_early_stops_git(
    objects: Objects, pool: CatfilePool, tmp_path: Path
) -> None:
    repository = bare(tmp_path)
    (tmp_path / "blob").write_bytes(b"x" * LARGE_BYTES)
    blob = repository.git("hash-object", "-w", str(tmp_path / "blob"))
    info = await objects.info(repository, blob.encode())
    assert info is not None
    async with aclosing(objects.pieces(repository, info)) as pieces:
        assert await anext(pieces)
    await until(lambda: len(newcomers.left()) == pool.idle)
    assert await objects.info(repository, blob.encode()) == info


async def test_an_object_that_has_gone_is_an_error(objects: Objects, repository: Bare) -> None:
    gone = ObjectInfo("3" * len(repository.git("rev-parse", "main")), "blob", 7)
    with pytest.raises(Internal, match="object not found"):
        async with aclosing(objects.pieces(repository, gone)) as pieces:
            await anext(pieces)


async def test_a_quarantine_is_seen_by_its_own_calls_only(
    objects: Objects, repository: Bare
) -> None:
    quarantine = f"{repository.path}/objects/incoming"
    os.mkdir(quarantine)
    environment = {
        "GIT_OBJECT_DIRECTORY": quarantine,
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{repository.path}/objects",
    }
    hidden = repository.git("hash-object", "-w", "--stdin", data="new\n", env=environment)
    inside = replace(
        repository,
        git_object_directory="objects/incoming",
        git_alternate_object_directories=("objects",),
    )
    for _ in range(2):
        assert await objects.info(repository, hidden.encode()) is None
        assert await objects.info(inside, hidden.encode()) == (hidden, "blob", 4)
        assert await objects.info(inside, b"main") is not None


async def test_changes_are_seen_at_once(objects: Objects, repository: Bare) -> None:
    first = await objects.info(repository, b"main")
    for number in range(3):
        commit = repository.commit(f"new {number}")
        repository.git("update-ref", "refs/heads/main", commit)
        if number:
            repository.git("repack", "-adq")
            repository.git("pack-refs", "--all")
        found = await objects.info(repository, b"main")
        assert found is not None
        assert found.object_id == commit
    assert first is not None
    assert await objects.info(repository, first.object_id.encode()) in (first, None)


async def test_a_pool_that_is_linked_later_is_seen(objects: Objects, tmp_path: Path) -> None:
    pool_repository = bare(tmp_path)
    blob = pool_repository.git("hash-object", "-w", "--stdin", data="pooled\n")
    fork = bare(tmp_path / "fork")
    assert await objects.info(fork, blob.encode()) is None
    write(f"{fork.path}/objects/info/alternates", f"{pool_repository.path}/objects\n")
    assert await objects.info(fork, blob.encode()) == (blob, "blob", 7)


async def test_another_repository_at_the_same_path_is_another(
    objects: Objects, pool: CatfilePool, tmp_path: Path
) -> None:
    old = filled(bare(tmp_path))
    commit = old.git("rev-parse", "main").encode()
    assert await objects.info(old, commit) is not None
    os.rename(old.path, tmp_path / "old")
    pool.forget(old.path)
    new = bare(tmp_path)
    assert new.path == old.path
    assert await objects.info(new, commit) is None


async def test_idle_processes_are_limited_and_get_old(git: Git, tmp_path: Path) -> None:
    repositories = [filled(bare(tmp_path / str(number))) for number in range(4)]
    async with CatfilePool(git, maximum=2, idle_seconds=0.05) as pool:
        objects = GitObjects(git, pool)
        for repository in repositories:
            assert await objects.info(repository, b"main") is not None
        assert pool.idle == 2
        await until(lambda: newcomers.left() == [])
        assert pool.idle == 0


async def test_a_call_that_is_cancelled_leaves_no_process_in_the_middle(
    git: Git, pool: CatfilePool, repository: Bare
) -> None:
    objects = GitObjects(git, pool)
    for turns in range(12):
        task = asyncio.ensure_future(objects.infos(repository, [b"main"] * 2000))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        found = await objects.info(repository, b"main:README")
        assert found is not None
        assert found.type == "blob"
    await until(lambda: len(newcomers.left()) == pool.idle)


async def test_a_process_that_was_killed_is_not_asked_again(
    git: Git, pool: CatfilePool, repository: Bare
) -> None:
    objects = GitObjects(git, pool)
    assert await objects.info(repository, b"main") is not None
    [child] = newcomers.left()
    os.kill(child, signal.SIGKILL)
    await until(lambda: newcomers.left() == [])
    assert await objects.info(repository, b"main") is not None


async def test_a_damaged_object_is_missing_as_it_is_for_git(
    objects: Objects, repository: Bare
) -> None:
    blob = repository.git("rev-parse", "main:dir/link")
    write(f"{repository.path}/objects/{blob[:2]}/{blob[2:]}", "not zlib")
    assert await objects.read(repository, blob.encode()) is None
    assert await objects.read(repository, b"main") is not None
