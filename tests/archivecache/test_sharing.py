"""One archive for many: what they get, and how often git runs for it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import GetArchiveRequest
from gitaly.errors import FailedPrecondition
from tests.archivecache.conftest import MIB, TAR, MakePlace, Uncached, fill
from tests.git.support import Bare, newcomers, run_git
from tests.services.repository.filling import commit_files, sizes_of, take_one
from tests.storage.support import message
from tests.transport.wires import until

FILES = {"README.md": b"hello\n", "src/app.py": b"print()\n", "src/lib/old.py": b""}


async def test_many_that_come_together_share_one_git(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    commit_files(bare, {"large": os.urandom(3 * MIB)})
    expected = await uncached()
    async with place() as here:
        before = here.runs
        answers = await asyncio.gather(*(here.archive() for _ in range(20)))
        assert here.runs == before + 1
        assert here.started.subcommands.count("grep") == 1
        assert {answer.data for answer in answers} == {expected}
        assert sorted(answer.is_hit for answer in answers) == [False] + [True] * 19
        assert here.metric("archive_cache_lookups_total", result="hit") == 19
        assert here.metric("archive_cache_lookups_total", result="miss") == 1
        assert here.metric("archive_cache_joined_total") == 19
        assert here.metric("archive_generated_bytes_total") == len(expected)
        assert here.metric("archive_served_bytes_total") == 20 * len(expected)
        assert here.metric("archive_cache_saved_bytes_total") == 19 * len(expected)


async def test_later_ones_get_what_is_kept_under_whatever_name(
    place: MakePlace, bare: Bare
) -> None:
    commit = commit_files(bare, FILES)
    bare.git("tag", "-m", "one", "v1", "main")
    async with place() as here:
        first = await here.archive()
        for name in (commit, commit[:12], "v1", "refs/heads/main", "v1^{commit}"):
            answer = await here.archive(commit_id=name)
            assert answer.data == first.data
            assert answer.is_hit
            assert answer.fields["archive_cache.key"] == first.fields["archive_cache.key"]
        assert here.runs == 1
        assert first.fields["archive_cache.generated_bytes"] == len(first.data)
        directory = str(here.directory)
        entries = here.metric("streamcache_index_entries", dir=directory, cache_name="archive")
        assert entries == 1
        used = here.metric("streamcache_filestore_disk_usage_bytes", dir=directory)
        assert used == len(first.data)
        assert here.metric("archive_cache_enabled", dir=directory, max_age="300") == 1
    assert here.files() == []


@pytest.mark.parametrize(
    "other",
    [
        {"format": GetArchiveRequest.ZIP},
        {"format": GetArchiveRequest.TAR_GZ},
        {"format": GetArchiveRequest.TAR_BZ2},
        {"prefix": "q"},
        {"prefix": ""},
        {"path": b"src"},
        {"path": b"src/lib"},
        {"exclude": [b"src"]},
        {"exclude": [b"src/lib", b"README.md"]},
        {"path": b"src", "exclude": [b"src/lib"]},
        {"commit_id": "other"},
    ],
    ids=str,
)
async def test_another_request_gets_another_archive(
    place: MakePlace, bare: Bare, uncached: Uncached, other: dict[str, Any]
) -> None:
    commit_files(bare, FILES)
    commit_files(bare, FILES | {"more": b"x"}, "refs/heads/other")
    async with place() as here:
        usual = await here.archive()
        different = await here.archive(**other)
        assert not different.is_hit
        assert different.data != usual.data
        assert different.data == await uncached(**other)
        assert (await here.archive(**other)).data == different.data
        assert (await here.archive()).data == usual.data


async def test_an_elided_path_is_another_archive_and_is_kept_too(
    place: MakePlace, bare: Bare
) -> None:
    """Its files have no time of their own, so it is compared by its content."""
    commit_files(bare, FILES)
    async with place() as here:
        whole = await here.archive(path=b"src")
        elided = await here.archive(path=b"src", elide_path=True)
        without = await here.archive(path=b"src", elide_path=True, exclude=[b"src/lib"])
        assert list(whole.files) == ["p/src/app.py", "p/src/lib/old.py"]
        assert list(elided.files) == ["p/app.py", "p/lib/old.py"]
        assert list(without.files) == ["p/app.py"]
        again = await here.archive(path=b"src", elide_path=True)
        assert (again.data, again.is_hit) == (elided.data, True)


async def test_two_lists_of_excluded_paths_do_not_run_together(
    place: MakePlace, bare: Bare
) -> None:
    names = ("a", "a,b", "b", "c")
    commit_files(bare, dict.fromkeys(names, b"x"))
    async with place() as here:
        assert list((await here.archive(exclude=[b"a,b"])).files) == ["p/a", "p/b", "p/c"]
        assert list((await here.archive(exclude=[b"a", b"b"])).files) == ["p/a,b", "p/c"]


async def test_repositories_with_sha_256_share_too(
    place: MakePlace, root: Path, uncached: Uncached
) -> None:
    path = str(root / "b.git")
    run_git("init", "--bare", "--quiet", "--template=", "--object-format=sha256", path)
    assert len(commit_files(Bare(path), FILES)) == 64
    wanted = {"repository": message("b.git")}
    async with place() as here:
        first = await here.archive(**wanted)
        assert first.data == await uncached(**wanted)
        assert (await here.archive(**wanted)).is_hit


async def test_what_does_not_exist_is_refused_as_ever(place: MakePlace, bare: Bare) -> None:
    commit_files(bare, FILES)
    async with place() as here:
        await here.archive()
        with pytest.raises(FailedPrecondition, match="path doesn't exist"):
            await here.archive(path=b"none")
        with pytest.raises(FailedPrecondition, match=r"exclude\[0\] doesn't exist"):
            await here.archive(exclude=[b"none"])
        assert here.runs == 1


async def test_nothing_is_kept_before_it_was_asked_for_often_enough(
    place: MakePlace, bare: Bare
) -> None:
    commit_files(bare, FILES)
    async with place(min_occurrences=1) as here:
        await here.archive()
        await until(lambda: here.files() == [])
        assert not (await here.archive()).is_hit
        assert (await here.archive()).is_hit
        assert here.runs == 2


async def test_what_is_too_old_is_made_anew(place: MakePlace, bare: Bare) -> None:
    commit_files(bare, FILES)
    async with place() as here:
        await here.archive()
        here.clock.now += 299
        assert (await here.archive()).is_hit
        here.clock.now += 1
        assert not (await here.archive()).is_hit
        await until(lambda: len(here.files()) == 1)


async def test_the_archive_used_longest_ago_makes_room(place: MakePlace, bare: Bare) -> None:
    # A mebibyte is asked for ahead of what comes: two fit with it, and all three never do.
    for name, size in (("a", MIB), ("b", 2 * MIB), ("c", 2 * MIB)):
        commit_files(bare, {name: os.urandom(size)}, f"refs/heads/{name}")
    async with place(max_bytes=4 * MIB + MIB // 2) as here:
        for name in ("a", "b", "a", "c"):
            await here.archive(commit_id=name)
        assert (await here.archive(commit_id="a")).is_hit
        assert not (await here.archive(commit_id="b")).is_hit
        assert here.metric("archive_cache_dropped_total", reason="room") >= 1


async def test_messages_from_the_cache_have_at_most_128_kib(place: MakePlace, bare: Bare) -> None:
    commit_files(bare, {"large": os.urandom(3 * MIB)})
    async with place() as here:
        for _ in range(2):
            sizes = sizes_of([part async for part in here.call()])
            assert max(sizes) <= 128 * 1024
            assert sum(sizes) > 3 * MIB


@pytest.mark.parametrize("form", [TAR, GetArchiveRequest.TAR_GZ])
async def test_the_last_one_who_goes_ends_git_and_nobody_finds_a_half(
    place: MakePlace, bare: Bare, form: Any
) -> None:
    fill(bare, 24)
    async with place(backpressure=True) as here:
        first, second = here.call(format=form), here.call(format=form)
        await anext(aiter(first))
        await take_one(second)
        assert newcomers.left() != []
        await take_one(first)
        await until(lambda: newcomers.left() == [] and here.files() == [])
        assert here.runs == 1
        assert not (await here.archive(format=form)).is_hit


async def test_who_goes_leaves_the_others_alone(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    fill(bare, 24)
    async with place(backpressure=True) as here:
        owner = here.call()
        await anext(aiter(owner))
        others = [here.begin() for _ in range(3)]
        (entry,) = here.shelf.index.everything()
        await until(lambda: len(entry.readers) == 4)
        await take_one(owner)
        expected = await uncached()
        assert {(await other).data for other in others} == {expected}
        assert sum(other.result().is_hit for other in others) == 3


async def test_a_storm_has_one_line_in_the_log(place: MakePlace, bare: Bare) -> None:
    commit_files(bare, {"large": os.urandom(MIB)})
    async with place() as here:
        answers = await asyncio.gather(*(here.archive() for _ in range(5)))
    (line,) = here.lines("archive cache: one archive for many")
    size = len(answers[0].data)
    assert (line["requests"], line["archive_bytes"], line["saved_bytes"]) == (5, size, 4 * size)
    assert line["repository"] == "default/a.git"
    assert line["archive_cache.key"] == answers[0].fields["archive_cache.key"]
