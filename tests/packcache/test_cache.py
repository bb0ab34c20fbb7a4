"""One pack for many: what readers get, and how often git runs for it."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gitaly.errors import Cancelled, Internal, ResourceExhausted
from gitaly.limits import Limiter, LimitMetrics, MethodLimits, PackObjectsLimiter, Rule
from gitaly.packcache import PackCommand, statistics_of
from tests.git.support import bare
from tests.packcache.conftest import FLAGS, MIB, MakePlace, Place, fill, objects_of
from tests.transport.wires import until


def uncached(place: Place, *wants: str) -> bytes:
    """What git answers without us."""
    found = [place.repository.git("rev-parse", want) for want in wants or ("main",)]
    return subprocess.run(
        ["git", "--git-dir", place.repository.path, "pack-objects", "--stdout", "-q", *FLAGS],
        input="".join(f"{want}\n" for want in found).encode(),
        check=True,
        capture_output=True,
    ).stdout


async def test_many_that_come_together_share_one_git(place: MakePlace, tmp_path: Path) -> None:
    async with place() as here:
        fetches = [here.fetch() for _ in range(25)]
        packs = [await fetch.pack() for fetch in fetches]
        assert here.runs == 1
        assert len(set(packs)) == 1
        assert objects_of(packs[0], tmp_path) == objects_of(uncached(here), tmp_path)
        hits = [fetch.served.is_hit for fetch in fetches]
        assert (hits.count(False), hits.count(True)) == (1, 24)
        assert {fetch.served.served_bytes for fetch in fetches} == {len(packs[0])}
        assert here.metric("pack_objects_cache_lookups_total", result="hit") == 24
        assert here.metric("pack_objects_cache_lookups_total", result="miss") == 1
        assert here.metric("pack_objects_cache_joined_total") == 24
        assert here.metric("pack_objects_generated_bytes_total") == len(packs[0])
        assert here.metric("pack_objects_served_bytes_total") == 25 * len(packs[0])
        assert here.metric("pack_objects_cache_saved_bytes_total") == 24 * len(packs[0])


async def test_later_ones_get_what_is_kept(place: MakePlace) -> None:
    async with place() as here:
        first = here.fetch()
        pack = await first.pack()
        second = here.fetch()
        assert await second.pack() == pack
        assert here.runs == 1
        assert (first.served.is_hit, second.served.is_hit) == (False, True)
        assert (second.served.is_joined, second.served.generated_bytes) == (False, None)
        assert first.served.generated_bytes == len(pack)
        assert len(here.files()) == 1
        assert (
            here.metric(
                "streamcache_index_entries", dir=str(here.directory), cache_name="pack_objects"
            )
            == 1
        )
        assert here.metric(
            "streamcache_filestore_disk_usage_bytes", dir=str(here.directory)
        ) == len(pack)
    assert here.files() == []


async def test_progress_is_for_later_readers_too(place: MakePlace) -> None:
    async with place() as here:
        here.command = PackCommand([*FLAGS, "--progress"])
        first, second = here.fetch(), here.fetch()
        await first.pack()
        await second.pack()
        third = here.fetch()
        await third.pack()
        assert first.reader.said == second.reader.said == third.reader.said
        assert b"Total 3 (delta 0)" in first.reader.said
        owner = second if first.served.is_hit else first
        assert statistics_of(owner.served.said).startswith("Total 3 (delta 0)")
        assert first.served.served_bytes == len(first.reader.pack) + len(first.reader.said)


async def test_below_min_occurrences_only_those_at_the_same_time_share(place: MakePlace) -> None:
    async with place(min_occurrences=1) as here:
        await here.fetch().pack()
        await until(lambda: here.files() == [])
        assert here.runs == 1
        await here.fetch().pack()  # the second request is kept
        assert (here.runs, len(here.files())) == (2, 1)
        await here.fetch().pack()
        assert here.runs == 2


async def test_a_crowd_counts_for_min_occurrences(place: MakePlace) -> None:
    async with place(min_occurrences=1) as here:
        for fetch in [here.fetch() for _ in range(3)]:
            await fetch.pack()
        await here.fetch().pack()
        assert here.runs == 1


async def test_an_entry_is_too_old_after_max_age(place: MakePlace) -> None:
    async with place(max_age_seconds=300) as here:
        await here.fetch().pack()
        here.clock.now += 299
        await here.fetch().pack()
        assert here.runs == 1
        here.clock.now += 1
        await here.fetch().pack()
        assert here.runs == 2
        await until(lambda: len(here.files()) == 1)


async def test_an_old_entry_stays_with_its_last_reader(place: MakePlace) -> None:
    async with place() as here:
        pack = await here.fetch().pack()
        slow = here.fetch()
        slow.reader.may_read.clear()
        await slow.reader.began.wait()
        here.clock.now += 300
        await here.fetch().pack()
        assert len(here.files()) == 2
        slow.reader.may_read.set()
        assert await slow.pack() == pack
        await until(lambda: len(here.files()) == 1)


async def test_a_push_between_two_fetches_is_seen(place: MakePlace, tmp_path: Path) -> None:
    async with place() as here:
        before = await here.fetch().pack()
        fill(here.repository, 1000)
        after = await here.fetch().pack()
        assert here.runs == 2
        assert objects_of(after, tmp_path) != objects_of(before, tmp_path)
        assert objects_of(after, tmp_path) == objects_of(uncached(here), tmp_path)


async def test_a_repository_made_anew_at_the_same_path_is_another_one(
    place: MakePlace, tmp_path: Path
) -> None:
    async with place() as here:
        commit = here.repository.git("rev-parse", "main")
        await here.fetch().pack()
        shutil.rmtree(here.repository.path)
        bare(tmp_path)
        fill(here.repository, 1000)
        stale = here.fetch(commit)
        with pytest.raises(Internal):
            await stale.task
        assert b"bad object" in stale.reader.said
        assert stale.reader.pack == b""


async def test_the_node_s_cache_can_be_off(place: MakePlace, tmp_path: Path) -> None:
    async with place(is_on=False) as here:
        packs = [await here.fetch().pack() for _ in range(2)]
        assert here.runs == 2
        assert objects_of(packs[1], tmp_path) == objects_of(uncached(here), tmp_path)
        assert here.metric("pack_objects_cache_unkept_total", reason="off") == 2
        assert not here.directory.exists()


async def test_what_is_not_repeatable_is_computed_each_time(
    place: MakePlace, tmp_path: Path
) -> None:
    async with place() as here:
        command = PackCommand([*FLAGS, "--all"])
        fetches = [here.fetch(command=command) for _ in range(2)]
        packs = [await fetch.pack() for fetch in fetches]
        assert here.runs == 2
        assert objects_of(packs[0], tmp_path) == objects_of(uncached(here), tmp_path)
        assert (fetches[0].served.key, fetches[0].served.unkept) == ("", "unrepeatable")
        assert here.files() == []


async def test_the_last_reader_that_leaves_frees_git(place: MakePlace) -> None:
    async with place() as here:
        fill(here.repository, 12 * MIB)
        fetches = [here.fetch() for _ in range(3)]
        for fetch in fetches:
            fetch.reader.may_read.clear()
        await fetches[0].reader.began.wait()
        for fetch in fetches[:2]:
            fetch.reader.gone.set()
            with pytest.raises(Cancelled):
                await fetch.task
        assert len(here.children()) == 1
        fetches[2].reader.gone.set()
        with pytest.raises(Cancelled):
            await fetches[2].task
        await until(lambda: here.children() == [])
        await until(lambda: here.files() == [])
        await here.fetch().pack()
        assert here.runs == 2


async def test_a_call_that_is_cancelled_frees_git(place: MakePlace) -> None:
    async with place() as here:
        fill(here.repository, 12 * MIB)
        fetch = here.fetch()
        fetch.reader.may_read.clear()
        await fetch.reader.began.wait()
        fetch.task.cancel()
        await asyncio.wait([fetch.task])
        await until(lambda: here.children() == [])


async def test_the_first_reader_may_leave_the_others_alone(place: MakePlace) -> None:
    async with place() as here:
        first, second = here.fetch(), here.fetch()
        first.reader.may_read.clear()
        await first.reader.began.wait()
        first.reader.gone.set()
        with pytest.raises(Cancelled):
            await first.task
        assert len(await second.pack()) > 3 * MIB
        assert here.runs == 1


async def test_without_backpressure_a_stalled_reader_does_not_hold_git(place: MakePlace) -> None:
    async with place(backpressure=False) as here:
        fill(here.repository, 12 * MIB)
        stalled = here.fetch()
        stalled.reader.may_read.clear()
        await stalled.reader.began.wait()
        await until(lambda: here.children() == [])
        await until(lambda: here.files()[0].stat().st_size > 12 * MIB)
        stalled.reader.may_read.set()
        assert len(await stalled.pack()) > 12 * MIB


async def test_with_backpressure_git_waits_for_the_fastest_reader(place: MakePlace) -> None:
    async with place(backpressure=True) as here:
        fill(here.repository, 20 * MIB)
        fetches = [here.fetch() for _ in range(2)]
        for fetch in fetches:
            fetch.reader.may_read.clear()
        await fetches[0].reader.began.wait()
        await until(lambda: here.files()[0].stat().st_size >= 8 * MIB)
        await asyncio.sleep(0.2)
        assert here.files()[0].stat().st_size <= 10 * MIB
        assert len(here.children()) == 1
        fetches[0].reader.may_read.set()  # one of them is enough
        pack = await fetches[0].pack()
        assert here.children() == []
        fetches[1].reader.may_read.set()
        assert await fetches[1].pack() == pack


async def test_least_recently_used_entries_make_room(place: MakePlace) -> None:
    async with place(max_bytes=6 * MIB, backpressure=False) as here:
        for name in ("one", "two", "three"):
            fill(here.repository, 2 * MIB, name)
        for name in ("one", "two", "one", "three", "one"):
            await here.fetch(name).pack()
        assert here.runs == 3
        await here.fetch("two").pack()
        assert here.runs == 4  # it had to go
        assert here.metric("pack_objects_cache_dropped_total", reason="room") >= 1
        assert sum(path.stat().st_size for path in here.files()) <= 6 * MIB


async def test_a_pack_above_the_budget_goes_straight_through(
    place: MakePlace, tmp_path: Path
) -> None:
    async with place(max_bytes=10 * MIB, backpressure=False) as here:
        fill(here.repository, 12 * MIB)
        fetches = [here.fetch() for _ in range(3)]
        packs = [await fetch.pack() for fetch in fetches]
        assert len(set(packs)) == 1
        assert objects_of(packs[0], tmp_path) == objects_of(uncached(here), tmp_path)
        assert (here.runs, here.metric("pack_objects_cache_unkept_total", reason="room")) == (1, 1)
        await until(lambda: here.files() == [])


async def test_a_storm_leaves_one_line(place: MakePlace) -> None:
    async with place() as here:
        fetches = [here.fetch() for _ in range(20)]
        packs = [await fetch.pack() for fetch in fetches]
        await here.fetch().pack()
    [line] = here.lines("pack-objects cache: one pack for many")
    assert line["repository"] == "default/a.git"
    assert (line["requests"], line["saved_bytes"]) == (21, 20 * len(packs[0]))
    assert line["pack_objects_cache.key"] == fetches[0].served.key


async def test_a_single_fetch_is_no_storm(place: MakePlace) -> None:
    async with place() as here:
        await here.fetch().pack()
    assert here.lines("pack-objects cache: one pack for many") == []


class OneEach:
    """Lets each client compute one pack at a time, and nobody from 10.0.0.9."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_refuse = asyncio.Event()

    @asynccontextmanager
    async def slot(self, remote_ip: str, *, has_username: bool) -> AsyncIterator[None]:
        self.asked.append(remote_ip)
        if remote_ip == "10.0.0.9":
            await self.may_refuse.wait()
            raise ResourceExhausted("maximum queue size reached")
        yield


async def test_only_computing_takes_a_slot(place: MakePlace) -> None:
    limiter = OneEach()
    async with place(limiter=limiter) as here:
        for fetch in [here.fetch(ip="10.0.0.1"), here.fetch(ip="10.0.0.2")]:
            await fetch.pack()
        await here.fetch(ip="10.0.0.3").pack()
    assert limiter.asked in (["10.0.0.1"], ["10.0.0.2"])


async def test_who_is_refused_does_not_take_others_along(place: MakePlace) -> None:
    limiter = OneEach()
    async with place(limiter=limiter) as here:
        refused = here.fetch(ip="10.0.0.9")
        await until(lambda: limiter.asked == ["10.0.0.9"])
        other = here.fetch(ip="10.0.0.2")
        await until(lambda: other.served.is_hit)  # it has joined
        limiter.may_refuse.set()
        with pytest.raises(ResourceExhausted) as raised:
            await refused.task
        assert raised.value.message == "pack objects hook: maximum queue size reached"
        assert len(await other.pack()) > 3 * MIB
    assert limiter.asked == ["10.0.0.9", "10.0.0.2"]


async def test_the_node_s_limits_are_asked(place: MakePlace) -> None:
    metrics = LimitMetrics(CollectorRegistry(), [1.0])
    rule = Rule(concurrency=1, queue_wait_seconds=0.05)
    limiter = Limiter(rule, metrics.pack_objects(authenticated=True))
    queues = PackObjectsLimiter(MethodLimits(authenticated=limiter))
    async with place(limiter=queues) as here:
        fill(here.repository, 12 * MIB)
        fill(here.repository, 1000, "other")
        slow = here.fetch(ip="10.0.0.1")
        slow.reader.may_read.clear()
        await slow.reader.began.wait()
        refused = here.fetch("other", ip="10.0.0.1")
        with pytest.raises(ResourceExhausted) as raised:
            await refused.task
        said = "pack objects hook: maximum time in concurrency queue reached"
        assert raised.value.message == said
        await here.fetch("other", ip="10.0.0.2").pack()
        await here.fetch("other", ip="10.0.0.1").pack()  # a hit takes no place
        slow.reader.may_read.set()
        await slow.pack()


async def test_the_end_of_the_node_ends_its_gits(place: MakePlace) -> None:
    async with place() as here:
        fill(here.repository, 12 * MIB)
        fetch = here.fetch()
        fetch.reader.may_read.clear()
        await fetch.reader.began.wait()
    assert here.children() == []
    assert here.files() == []
    fetch.reader.may_read.set()
    with pytest.raises(Cancelled):
        await fetch.task
    assert os.listdir(here.directory) != []
