"""A cache whose policy changes while it holds packs."""

from gitaly.streamcache import Policy
from tests.packcache.conftest import MIB, MakePlace, fill
from tests.transport.wires import until


def policy(**changed: float) -> Policy:
    given = {"max_age_seconds": 300.0, "min_occurrences": 0, "max_bytes": 0, **changed}
    return Policy(
        max_age_seconds=given["max_age_seconds"],
        min_occurrences=int(given["min_occurrences"]),
        max_bytes=int(given["max_bytes"]),
        backpressure=False,
    )


async def test_under_a_lowered_budget_what_was_used_longest_ago_goes_at_once(
    place: MakePlace,
) -> None:
    async with place(backpressure=False) as here:
        for name in ("one", "two"):
            fill(here.repository, 2 * MIB, name)
            await here.fetch(name).pack()
        await until(lambda: len(here.files()) == 2)
        here.cache.adopt(policy(max_bytes=3 * MIB), 1)
        await until(lambda: len(here.files()) == 1)
        await here.fetch("two").pack()
        assert here.runs == 2


async def test_what_somebody_reads_stays_until_it_is_read(place: MakePlace) -> None:
    async with place(backpressure=False) as here:
        fetch = here.fetch()
        fetch.reader.may_read.clear()
        await fetch.reader.began.wait()
        here.cache.adopt(policy(max_bytes=1, max_age_seconds=0.001), 1)
        fetch.reader.may_read.set()
        assert len(await fetch.pack()) > 3 * MIB
        await until(lambda: here.files() == [])


async def test_a_whole_pack_above_the_lowered_budget_goes_after_its_last_reader(
    place: MakePlace,
) -> None:
    async with place(backpressure=False) as here:
        fetch = here.fetch()
        fetch.reader.may_read.clear()
        await fetch.reader.began.wait()
        await until(lambda: here.cache.state().productions_total == 0)
        here.cache.adopt(policy(max_bytes=1), 1)
        fetch.reader.may_read.set()
        await fetch.pack()
        await until(lambda: here.files() == [])


async def test_a_shorter_age_counts_for_what_is_there(place: MakePlace) -> None:
    async with place() as here:
        await here.fetch().pack()
        here.clock.now += 10
        here.cache.adopt(policy(max_age_seconds=5), 1)
        await until(lambda: here.files() == [])
        directory = str(here.directory)
        assert here.metric("pack_objects_cache_enabled", dir=directory, max_age="5") == 1
        labels = {"dir": directory, "max_age": "300"}
        name = "gitaly_pack_objects_cache_enabled"
        assert here.registry.get_sample_value(name, labels) is None


async def test_a_floor_above_what_is_free_keeps_nothing_more(place: MakePlace) -> None:
    async with place() as here:
        here.cache.adopt(policy(), 1 << 62)
        await here.fetch().pack()
        assert here.metric("pack_objects_cache_unkept_total", reason="room") == 1


async def test_more_occurrences_are_asked_of_the_next(place: MakePlace) -> None:
    async with place() as here:
        here.cache.adopt(policy(min_occurrences=1), 1)
        await here.fetch().pack()
        await until(lambda: here.files() == [])
        await here.fetch().pack()
        assert len(here.files()) == 1


async def test_a_cache_that_is_off_stays_off(place: MakePlace) -> None:
    async with place(is_on=False) as here:
        here.cache.adopt(policy(max_bytes=MIB), 1)
        await here.fetch().pack()
        assert here.files() == []
