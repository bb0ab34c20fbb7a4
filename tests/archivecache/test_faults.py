"""No call fails because of the cache; and what is broken is not served again."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gitaly.errors import Internal
from gitaly.git import GitFailed
from gitaly.streamcache.entry import State
from tests.archivecache.conftest import MIB, MakePlace, Uncached, fill
from tests.git.support import Bare
from tests.services.repository.filling import commit_files
from tests.transport.wires import until


async def test_a_git_that_fails_fails_each_who_waits_and_nobody_later(
    place: MakePlace, bare: Bare, tmp_path: Path
) -> None:
    commit = commit_files(bare, {"a": b"1", "b": b"2"})
    blob = bare.git("rev-parse", f"{commit}:b")
    stored, hidden = f"{bare.path}/objects/{blob[:2]}/{blob[2:]}", tmp_path / "hidden"
    os.rename(stored, hidden)
    async with place() as here:
        calls = (here.archive() for _ in range(4))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in found] == [GitFailed] * 4
        assert {getattr(error, "message", "") for error in found} == {"exit status 255"}
        await until(lambda: here.files() == [])
        os.rename(hidden, stored)
        answer = await here.archive()
        assert (list(answer.files), answer.is_hit) == (["p/a", "p/b"], False)
        assert (await here.archive()).is_hit


async def test_an_archive_beyond_the_budget_goes_straight_to_all(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    fill(bare, 8)
    expected = await uncached()
    async with place(max_bytes=3 * MIB) as here:
        before = here.runs
        answers = await asyncio.gather(*(here.archive() for _ in range(3)))
        assert {answer.data for answer in answers} == {expected}
        assert here.runs == before + 1
        assert here.metric("archive_cache_unkept_total", reason="room") == 1
        (owner,) = [answer for answer in answers if not answer.is_hit]
        assert owner.fields["archive_cache.unkept"] == "room"
        await until(lambda: here.files() == [])


async def test_who_leaves_an_archive_that_goes_straight_through_does_not_stop_the_others(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    fill(bare, 24)
    # Git stops 8 MiB ahead of the first one, so that the second one still joins it.
    async with place(max_bytes=12 * MIB, backpressure=True) as here:
        leaver = here.call()
        read = len((await anext(aiter(leaver))).data)
        (entry,) = here.shelf.index.everything()
        (position,) = entry.readers
        stayer = here.begin()
        await until(lambda: len(entry.readers) == 2)
        while read < 14 * MIB:
            read += len((await anext(aiter(leaver))).data)
        (other,) = entry.readers - {position}
        await until(lambda: other.bytes > position.bytes)  # git's next bytes wait for the leaver
        assert entry.state is State.SPILLING
        await leaver.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert (await stayer).data == await uncached()


async def test_a_full_disk_is_no_reason_to_fail(
    place: MakePlace, bare: Bare, uncached: Uncached, small_disk: Callable[..., Path]
) -> None:
    fill(bare, 8)
    small_disk(3 * MIB, "cache")
    async with place() as here:
        answers = await asyncio.gather(*(here.archive() for _ in range(3)))
        assert {answer.data for answer in answers} == {await uncached()}
        assert here.metric("archive_cache_unkept_total", reason="room") == 1
        await until(lambda: here.files() == [])


async def test_too_little_free_space_is_no_reason_to_fail(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    fill(bare, 2)
    async with place(min_free_bytes=1 << 60) as here:
        assert (await here.archive()).data == await uncached()
        assert here.files() == []


async def test_a_directory_that_cannot_be_made_is_no_reason_to_fail(
    place: MakePlace, bare: Bare, uncached: Uncached, tmp_path: Path
) -> None:
    fill(bare, 2)
    (tmp_path / "cache").write_text("")
    async with place() as here:
        assert (await here.archive()).data == await uncached()
        assert here.metric("archive_cache_unkept_total", reason="error") == 1
        assert here.lines("archive cache: its directory cannot be used") != []


def truncate(path: Path) -> None:
    os.truncate(path, 1000)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.rename(path)


def overwrite(path: Path) -> None:
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.write(b"x")


@pytest.mark.parametrize("damage", [truncate, remove, replace, overwrite])
async def test_a_file_that_is_not_what_was_written_is_not_served(
    place: MakePlace, bare: Bare, damage: Callable[[Path], None]
) -> None:
    fill(bare, 2)
    async with place() as here:
        first = await here.archive()
        (path,) = here.files()
        damage(path)
        assert (await here.archive()).data == first.data
        assert here.runs == 2
        assert (await here.archive()).is_hit
        assert here.metric("archive_cache_dropped_total", reason="changed") == 1


async def test_damage_while_somebody_reads_ends_that_call_with_an_error(
    place: MakePlace, bare: Bare
) -> None:
    fill(bare, 16)
    async with place() as here:
        expected = (await here.archive()).data
        reader = here.call()
        await anext(aiter(reader))
        (path,) = here.files()
        truncate(path)
        with pytest.raises(Internal, match="the cached archive is damaged"):
            [part async for part in reader]
        assert (await here.archive()).data == expected


async def test_a_cache_that_closes_ends_what_it_makes_with_an_error(
    place: MakePlace, bare: Bare
) -> None:
    fill(bare, 24)
    async with place(backpressure=True) as here:
        reader = here.call()
        await anext(aiter(reader))
    with pytest.raises(Exception, match="all readers closed before writer finished"):
        [part async for part in reader]
    assert here.files() == []


async def test_git_that_complains_is_believed_and_its_archive_not_kept(
    place: MakePlace, bare: Bare, uncached: Uncached
) -> None:
    """A filter that is missing leaves the file as it is; git says so, and goes on."""
    files = {"a": b"1", ".gitattributes": b"a working-tree-encoding=nonsense\n"}
    commit_files(bare, files)
    async with place() as here:
        for _ in range(2):
            answer = await here.archive()
            assert answer.data == await uncached()
            assert answer.fields["archive_cache.unkept"] == "doubtful"
        assert here.metric("archive_cache_unkept_total", reason="doubtful") == 2
        await until(lambda: here.files() == [])
