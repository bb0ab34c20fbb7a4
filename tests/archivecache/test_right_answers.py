"""Attempts to get a wrong archive out of the cache."""

import asyncio
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitaly.git import Git, ObjectInfo, Objects, RepositoryPaths
from tests.archivecache.conftest import MakePlace, Uncached, fill
from tests.git.support import Bare, run_git
from tests.services.repository.filling import commit_files
from tests.storage.support import message

FILES = {"a": b"1\n", "b": b"2\n"}
SUBSTITUTED = {"v": b"$Format:%D$\n", ".gitattributes": b"v export-subst\n"}


def write(bare: Bare, name: str, text: str) -> None:
    """A file of the repository."""
    path = Path(bare.path, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def modes(data: bytes) -> set[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.mode for entry in tar if entry.isfile()}


async def test_a_push_between_two_calls_is_in_the_second(place: MakePlace, bare: Bare) -> None:
    commit_files(bare, FILES)
    async with place() as here:
        assert list((await here.archive()).files) == ["p/a", "p/b"]
        commit_files(bare, {"c": b"3"})
        assert list((await here.archive()).files) == ["p/c"]


async def test_a_push_while_an_archive_is_made_is_in_the_next_one(
    place: MakePlace, bare: Bare
) -> None:
    fill(bare, 24)
    async with place(backpressure=True) as here:
        first = here.call()
        await anext(aiter(first))
        commit_files(bare, {"c": b"3"})
        assert list((await here.archive()).files) == ["p/c"]
        rest = [part async for part in first]
        assert sum(len(part.data) for part in rest) > 23 << 20


class Interrupted:
    """Objects of which something happens right after the first was looked up."""

    def __init__(self, objects: Objects, happens: Callable[[], object]) -> None:
        self._objects = objects
        self._happens: Callable[[], object] | None = happens

    def __getattr__(self, name: str) -> Any:  # whatever the real ones have
        return getattr(self._objects, name)

    async def info(self, repository: RepositoryPaths, revision: bytes) -> ObjectInfo | None:
        found = await self._objects.info(repository, revision)
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return found


async def test_a_push_between_the_look_at_a_name_and_git_spoils_nothing(
    place: MakePlace, bare: Bare, objects: Objects
) -> None:
    old = commit_files(bare, FILES)
    pushes: Any = Interrupted(objects, lambda: commit_files(bare, {"c": b"3"}))
    async with place(objects=pushes) as here:
        assert list((await here.archive()).files) == ["p/a", "p/b"]
        assert list((await here.archive()).files) == ["p/c"]
        assert list((await here.archive(commit_id=old)).files) == ["p/a", "p/b"]


async def test_a_commit_that_is_gone_is_not_served(place: MakePlace, bare: Bare) -> None:
    commit = commit_files(bare, FILES)
    async with place() as here:
        await here.archive(commit_id=commit)
        bare.git("update-ref", "-d", "refs/heads/main")
        bare.git("prune", "--expire=now")
        with pytest.raises(Exception, match="object not found"):
            await here.archive(commit_id=commit)


async def test_a_repository_that_is_removed_and_made_again_is_another_one(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    commit = commit_files(bare, FILES)
    async with place() as here:
        await here.archive()
        shutil.rmtree(bare.path)
        run_git("init", "--bare", "--quiet", "--template=", bare.path)
        assert commit_files(bare, FILES) == commit
        write(bare, "info/attributes", "a export-ignore\n")
        answer = await here.archive()
        assert not answer.is_hit
        assert list(answer.files) == ["p/b"]
        assert answer.data == await uncached()


async def test_the_same_commit_in_another_repository_is_another_archive(
    place: MakePlace, bare: Bare, root: Path
) -> None:
    commit = commit_files(bare, FILES)
    run_git("clone", "--bare", "--quiet", bare.path, str(root / "b.git"))
    async with place() as here:
        await here.archive(commit_id=commit)
        other = await here.archive(commit_id=commit, repository=message("b.git"))
        assert not other.is_hit


async def test_attributes_of_the_repository_count_from_the_next_call_on(
    place: MakePlace, bare: Bare
) -> None:
    commit_files(bare, FILES)
    async with place() as here:
        assert list((await here.archive()).files) == ["p/a", "p/b"]
        write(bare, "info/attributes", "a export-ignore\n")
        assert list((await here.archive()).files) == ["p/b"]
        write(bare, "info/attributes", "b export-ignore\n")  # of the same length
        assert list((await here.archive()).files) == ["p/a"]
        os.unlink(f"{bare.path}/info/attributes")
        assert list((await here.archive()).files) == ["p/a", "p/b"]


async def test_configuration_counts_from_the_next_call_on(
    place: MakePlace, bare: Bare, git: Git
) -> None:
    commit_files(bare, FILES)
    async with place() as here:
        assert modes((await here.archive()).data) == {0o664}
        bare.git("config", "tar.umask", "0077")
        assert modes((await here.archive()).data) == {0o600}
        git.adopt([("tar.umask", "0007")])
        assert modes((await here.archive()).data) == {0o660}
        assert (await here.archive()).is_hit


async def test_attributes_of_head_do_not_count_for_other_commits(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    """Were it otherwise, HEAD would belong to what archives are kept under."""
    commit_files(bare, FILES, "refs/heads/old")
    async with place() as here:
        kept = await here.archive(commit_id="old")
        commit_files(bare, FILES | {".gitattributes": b"a export-ignore\n"})
        bare.git("symbolic-ref", "HEAD", "refs/heads/main")
        assert await uncached(commit_id="old") == kept.data
        assert list((await here.archive()).files) == ["p/.gitattributes", "p/b"]


@pytest.mark.parametrize(
    "files",
    [
        SUBSTITUTED,
        {"d/e/v": b"$Format:%D$\n", "d/e/.gitattributes": b"v export-subst\n"},
        {"v": b"$Format:%D$\n", ".gitattributes": b"[attr]told export-subst\nv told\n"},
    ],
    ids=["root", "below", "macro"],
)
async def test_what_git_fills_in_from_references_is_made_anew(
    place: MakePlace, bare: Bare, files: dict[str, bytes]
) -> None:
    commit_files(bare, files)
    async with place() as here:
        assert b"HEAD -> main\n" in (await here.archive()).files.values()
        bare.git("tag", "v1", "main")
        answer = await here.archive()
        assert b"HEAD -> main, tag: v1\n" in answer.files.values()
        assert answer.fields["archive_cache.key"] == ""
        assert answer.fields["archive_cache.unkept"] == "unrepeatable"
        assert here.metric("archive_cache_unkept_total", reason="unrepeatable") == 2
        assert here.files() == []


async def test_a_file_that_only_speaks_of_substitution_is_kept(
    place: MakePlace, bare: Bare
) -> None:
    commit_files(bare, {"notes": b"v export-subst\n", "x.gitattributes": b"v export-subst\n"})
    async with place() as here:
        await here.archive()
        assert (await here.archive()).is_hit


async def test_substitution_by_the_repository_s_own_attributes_is_seen(
    place: MakePlace, bare: Bare
) -> None:
    commit_files(bare, {"v": b"$Format:%D$\n"})
    write(bare, "info/attributes", "v export-subst\n")
    async with place() as here:
        await here.archive()
        bare.git("tag", "v1", "main")
        assert (await here.archive()).files["p/v"] == b"HEAD -> main, tag: v1\n"


async def test_attributes_from_elsewhere_are_read_each_time(
    place: MakePlace, bare: Bare, git: Git, tmp_path: Path
) -> None:
    commit_files(bare, FILES)
    elsewhere = tmp_path / "attributes"
    elsewhere.write_text("a export-ignore\n")

    def in_config() -> None:
        bare.git("config", "core.attributesFile", str(elsewhere))

    def by_the_operator() -> None:
        bare.git("config", "--unset", "core.attributesFile")
        git.adopt([("core.attributesFile", str(elsewhere))])

    def included() -> None:
        git.adopt([])
        more = tmp_path / "more"
        more.write_text(f"[core]\n\tattributesFile = {elsewhere}\n")
        bare.git("config", "include.path", str(more))

    ways: list[Callable[[], None]] = [in_config, by_the_operator, included]
    async with place() as here:
        for way in ways:
            way()
            elsewhere.write_text("a export-ignore\n")
            assert list((await here.archive()).files) == ["p/b"]
            elsewhere.write_text("b export-ignore\n")
            assert list((await here.archive()).files) == ["p/a"]
        assert here.files() == []


async def test_a_filter_is_run_each_time(place: MakePlace, bare: Bare, tmp_path: Path) -> None:
    commit_files(bare, FILES | {".gitattributes": b"a filter=now\n"})
    said = tmp_path / "said"
    said.write_text("first")
    bare.git("config", "filter.now.smudge", f"cat {said}")
    async with place() as here:
        assert (await here.archive()).files["p/a"] == b"first"
        said.write_text("then")
        assert (await here.archive()).files["p/a"] == b"then"


async def test_what_is_no_commit_is_made_anew(place: MakePlace, bare: Bare) -> None:
    """It has no time of its own: its files get that at which the archive is made."""
    commit_files(bare, FILES)
    async with place() as here:
        for _ in range(2):
            answer = await here.archive(commit_id="main^{tree}")
            assert answer.files == {"p/a": b"1\n", "p/b": b"2\n"}
            assert answer.fields["archive_cache.key"] == ""
        assert here.runs == 2


async def test_borrowed_objects_belong_to_the_request(
    place: MakePlace, bare: Bare, root: Path
) -> None:
    commit_files(bare, FILES)
    run_git("init", "--bare", "--quiet", "--template=", str(root / "pool.git"))
    async with place() as here:
        await here.archive()
        write(bare, "objects/info/alternates", f"{root}/pool.git/objects\n")
        assert not (await here.archive()).is_hit
        assert (await here.archive()).is_hit


async def test_answers_stay_right_while_everything_moves(place: MakePlace, bare: Bare) -> None:
    """Twelve clients ask for a branch that is pushed to: what they get was pushed before the
    answer, and not overwritten before the question."""
    pushed = 0
    async with place() as here:
        commit_files(bare, {"n": b"0"})

        async def client() -> None:
            for _ in range(6):
                before = pushed
                answer = await here.archive()
                assert before <= int(answer.files["p/n"]) <= pushed + 1

        clients = [asyncio.create_task(client()) for _ in range(12)]
        while not all(task.done() for task in clients):
            commit = await asyncio.to_thread(commit_files, bare, {"n": str(pushed + 1).encode()})
            assert commit
            pushed += 1
        for task in clients:
            await task
        assert here.runs < 72
