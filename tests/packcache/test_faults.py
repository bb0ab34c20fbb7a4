"""What goes wrong with disks, files and processes: a fetch never fails because of the cache, and
never gets a wrong pack from it."""

import asyncio
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gitaly.errors import Internal
from tests.packcache.conftest import MIB, MakePlace, Place, Reader, fill, objects_of
from tests.packcache.test_cache import uncached
from tests.transport.wires import until


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_up(path: Path) -> None:
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def mount(*options: str | Path) -> None:
    subprocess.run(["mount", *options], check=True)


def hide(repository: str, object_id: str, place: Path) -> Path:
    """Take an object away; where it was."""
    path = Path(repository, "objects", object_id[:2], object_id[2:])
    path.rename(place)
    return path


def remove_tree(path: Path) -> None:
    subprocess.run(["rm", "-rf", path], check=True)


async def all_good(here: Place, tmp_path: Path, count: int = 5) -> None:
    """Fetches at the same time, all complete."""
    fetches = [here.fetch() for _ in range(count)]
    packs = [await fetch.pack() for fetch in fetches]
    wanted = objects_of(uncached(here), tmp_path)
    for pack in set(packs):
        assert objects_of(pack, tmp_path) == wanted


@pytest.mark.parametrize("count", [1, 5])
async def test_a_disk_that_is_full_in_the_middle(
    place: MakePlace, small_disk: Callable[[int], Path], tmp_path: Path, count: int
) -> None:
    directory = small_disk(5 * MIB) / "cache"
    async with place(directory=directory) as here:
        fill(here.repository, 12 * MIB)
        for _ in range(3):
            await all_good(here, tmp_path, count)
        assert here.metric("pack_objects_cache_unkept_total", reason="room") >= 3
        await until(lambda: here.files() == [])
        await until(lambda: os.statvfs(directory).f_bavail > 1000)  # nothing is left on it


@pytest.mark.parametrize("count", [1, 5])
async def test_a_disk_that_is_full_at_the_first_byte(
    place: MakePlace, small_disk: Callable[[int], Path], tmp_path: Path, count: int
) -> None:
    disk = small_disk(MIB)
    async with place(directory=disk / "cache") as here:
        fill_up(disk / "ballast")
        for _ in range(2):
            await all_good(here, tmp_path, count)


@pytest.mark.parametrize("size", [65536, 2 * MIB])
async def test_a_file_that_cannot_grow(place: MakePlace, tmp_path: Path, size: int) -> None:
    async with place() as here:
        with files_of_at_most(size):
            fetches = [here.fetch() for _ in range(3)]
            packs = [await fetch.pack() for fetch in fetches]
        assert len(set(packs)) == 1
        assert objects_of(packs[0], tmp_path) == objects_of(uncached(here), tmp_path)
        assert here.metric("pack_objects_cache_unkept_total", reason="error") == 1
        await all_good(here, tmp_path)


async def test_the_free_space_floor_is_kept(place: MakePlace, tmp_path: Path) -> None:
    async with place(min_free_bytes=1 << 60) as here:
        await all_good(here, tmp_path)
        assert here.files() == []
        assert here.metric("pack_objects_cache_unkept_total", reason="room") >= 1


async def test_old_packs_make_space_on_a_full_disk(
    place: MakePlace, small_disk: Callable[[int], Path]
) -> None:
    directory = small_disk(8 * MIB) / "cache"
    async with place(directory=directory, min_free_bytes=2 * MIB) as here:
        for name in ("one", "two", "three"):
            fill(here.repository, 3 * MIB, name)
            await here.fetch(name).pack()
        assert here.metric("pack_objects_cache_dropped_total", reason="room") >= 1
        await here.fetch("three").pack()
        assert here.runs == 3


async def test_a_directory_that_cannot_be_made(place: MakePlace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    async with place(directory=tmp_path / "file" / "cache") as here:
        await all_good(here, tmp_path)
        assert here.metric("pack_objects_cache_unkept_total", reason="error") >= 1
        assert here.lines("pack-objects cache: its directory cannot be used") != []


async def test_a_directory_that_is_removed(place: MakePlace, tmp_path: Path) -> None:
    async with place() as here:
        await all_good(here, tmp_path)
        remove_tree(here.directory)
        await all_good(here, tmp_path)
        assert (here.runs, len(here.files())) == (2, 1)


async def test_a_directory_that_is_removed_while_git_writes(
    place: MakePlace, tmp_path: Path
) -> None:
    async with place() as here:
        fill(here.repository, 12 * MIB)
        fetches = [here.fetch() for _ in range(2)]
        for fetch in fetches:
            fetch.reader.may_read.clear()
        await fetches[0].reader.began.wait()
        remove_tree(here.directory)
        late = here.fetch()
        for fetch in fetches:
            fetch.reader.may_read.set()
        packs = [await fetch.pack() for fetch in (*fetches, late)]
        wanted = objects_of(uncached(here), tmp_path)
        assert all(objects_of(pack, tmp_path) == wanted for pack in set(packs))
        await all_good(here, tmp_path)


def truncate(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 1000)


def corrupt(path: Path) -> None:
    time.sleep(0.02)
    with open(path, "r+b") as file:
        file.seek(2 * MIB)
        file.write(b"corrupted")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(os.urandom(path.stat().st_size))
    other.replace(path)


@pytest.mark.parametrize("damage", [truncate, corrupt, replace, Path.unlink])
async def test_a_damaged_file_is_noticed_before_anybody_gets_it(
    place: MakePlace, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async with place() as here:
        await here.fetch().pack()
        damage(here.files()[0])
        await all_good(here, tmp_path)
        assert here.runs == 2
        assert here.metric("pack_objects_cache_dropped_total", reason="changed") == 1
        [line] = here.lines("pack-objects cache: a file cannot be trusted")
        assert line["level"] == "warning"
        await all_good(here, tmp_path)
        assert here.runs == 2


@pytest.mark.parametrize("damage", [truncate, corrupt])
async def test_a_file_that_is_damaged_while_it_is_read_is_an_error(
    place: MakePlace, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async with place() as here:
        await here.fetch().pack()
        fetch = here.fetch()
        fetch.reader.may_read.clear()
        await fetch.reader.began.wait()
        damage(here.files()[0])
        fetch.reader.may_read.set()
        with pytest.raises(Internal) as raised:
            await fetch.task
        assert raised.value.message == "pack objects hook: the cached pack is damaged"
        await all_good(here, tmp_path)
        assert here.runs == 2


@pytest.mark.parametrize("size", [3, 12])
async def test_a_file_that_is_cut_while_git_writes_is_an_error_or_computed_again(
    place: MakePlace, tmp_path: Path, size: int
) -> None:
    async with place() as here:
        fill(here.repository, size * MIB)
        wanted = objects_of(uncached(here), tmp_path)
        fetches = [here.fetch() for _ in range(3)]
        for fetch in fetches:
            fetch.reader.may_read.clear()
        await until(lambda: bool(here.files()) and here.files()[0].stat().st_size > 2 * MIB)
        truncate(here.files()[0])
        for fetch in fetches:
            fetch.reader.may_read.set()
        await asyncio.wait([fetch.task for fetch in fetches])
        for fetch in fetches:
            if fetch.task.exception() is None:
                assert objects_of(fetch.reader.pack, tmp_path) == wanted
            else:
                error = "pack objects hook: the cached pack is damaged"
                assert str(fetch.task.exception()) == error
        await until(lambda: here.children() == [])
        await all_good(here, tmp_path)


class Unlucky(Reader):
    """Its first file cannot be read."""

    async def use_file(self, descriptor: int) -> None:
        if self._file < 0 and not self.failures:
            self.failures = 1
            reading, self.writing = os.pipe()
            os.close(reading)
            await super().use_file(self.writing)
        else:
            os.close(self.writing)
            await super().use_file(descriptor)

    failures = 0
    writing = -1


async def test_a_file_that_cannot_be_read_is_computed_again(
    place: MakePlace, tmp_path: Path
) -> None:
    async with place() as here:
        await here.fetch().pack()
        fetch = here.fetch(reader=Unlucky())
        assert objects_of(await fetch.pack(), tmp_path) == objects_of(uncached(here), tmp_path)
        assert here.runs == 2
        assert here.metric("pack_objects_cache_dropped_total", reason="changed") == 1


async def test_a_git_that_is_killed_gives_each_reader_one_error(
    place: MakePlace, tmp_path: Path
) -> None:
    async with place() as here:
        fill(here.repository, 12 * MIB)
        fetches = [here.fetch() for _ in range(20)]
        for fetch in fetches:
            fetch.reader.may_read.clear()
        await fetches[0].reader.began.wait()
        [pid] = here.children()
        os.kill(pid, signal.SIGKILL)
        for fetch in fetches:
            fetch.reader.may_read.set()
        await asyncio.wait([fetch.task for fetch in fetches])
        assert all(isinstance(fetch.task.exception(), Internal) for fetch in fetches)
        assert {str(fetch.task.exception()) for fetch in fetches} == {
            'pack objects hook: git-pack-objects: stderr: "" err: signal: killed'
        }
        await until(lambda: here.files() == [])
        await all_good(here, tmp_path)
        assert here.runs == 2


async def test_what_git_cannot_compute_is_never_kept(place: MakePlace, tmp_path: Path) -> None:
    async with place() as here:
        blob = here.repository.git("rev-parse", "main:file")
        loose = hide(here.repository.path, blob, tmp_path / "away")
        for _ in range(2):
            fetches = [here.fetch() for _ in range(3)]
            await asyncio.wait([fetch.task for fetch in fetches])
            for fetch in fetches:
                error = fetch.task.exception()
                assert isinstance(error, Internal)
                assert "exit status 128" in error.message
                assert b"fatal" in fetch.reader.said
        assert here.runs == 2
        await until(lambda: here.files() == [])
        (tmp_path / "away").rename(loose)
        await all_good(here, tmp_path)


async def test_a_file_that_cannot_be_removed_is_tried_again(
    place: MakePlace, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(32 * MIB)
    async with place(directory=disk / "cache", max_age_seconds=0.1) as here:
        await here.fetch().pack()
        mount("-o", "remount,ro", disk)
        here.clock.now += 1
        await until(lambda: here.lines("pack-objects cache: a file cannot be removed") != [])
        assert len(here.files()) == 1
        usage = "streamcache_filestore_disk_usage_bytes"
        assert here.metric(usage, dir=str(here.directory)) > 3 * MIB
        await here.fetch().pack()  # straight through
        mount("-o", "remount,rw", disk)
        await until(lambda: here.files() == [])
        await until(lambda: here.metric(usage, dir=str(here.directory)) == 0)


async def test_one_of_two_processes_ends_and_the_other_serves_on(
    place: MakePlace, tmp_path: Path
) -> None:
    async with place(directory=tmp_path / "shared") as second:
        await second.fetch().pack()
        async with place(directory=tmp_path / "shared") as first:
            await first.fetch().pack()
            assert len(second.files()) == 2
        assert len(second.files()) == 1
        runs = second.runs
        await second.fetch().pack()
        assert second.runs == runs
