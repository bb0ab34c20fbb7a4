"""Who stays and who goes: decided without a disk, on a clock of our own."""

import pytest

from gitaly.streamcache.entry import Entry, FileIdentity, State
from gitaly.streamcache.index import Index, Occurrences, Policy
from tests.packcache.conftest import Reader

IDENTITY = FileIdentity(1, 2, 3, 4, 5)


def an_index(*, min_occurrences: int = 0, max_bytes: int = 0) -> Index:
    policy = Policy(max_age_seconds=300, min_occurrences=min_occurrences, max_bytes=max_bytes)
    return Index(policy)


def kept(index: Index, key: str, size: int = 10, now: float = 0.0) -> Entry:
    entry, is_new = index.lookup(key, "default/a.git", now)
    assert is_new
    index.stored(entry)
    index.grow(entry, size)
    entry.complete(IDENTITY)
    return entry


def test_the_second_request_finds_the_first_s_entry() -> None:
    index = an_index()
    first, is_new = index.lookup("k", "default/a.git", 0)
    assert is_new
    assert index.lookup("k", "default/a.git", 1) == (first, False)
    assert index.lookup("other", "default/a.git", 1)[0] is not first
    assert len(index) == 2


def test_age_counts_from_creation_not_from_use() -> None:
    index = an_index()
    first = kept(index, "k")
    assert index.lookup("k", "", 299)[0] is first
    second, is_new = index.lookup("k", "", 300)
    assert is_new
    assert first.is_dropped
    assert index.lookup("k", "", 301)[0] is second


def test_old_entries_are_named() -> None:
    index = an_index()
    first, second = kept(index, "a"), kept(index, "b", now=1)
    assert index.old(299) == []
    assert index.old(300) == [first]
    assert index.old(301) == [first, second]


def test_a_clock_that_goes_back_ends_nothing() -> None:
    index = an_index()
    first = kept(index, "k", now=1000)
    assert index.lookup("k", "", 10)[0] is first
    assert index.old(10) == []
    assert index.is_worth_keeping(first, 10)


@pytest.mark.parametrize(("minimum", "requests"), [(0, 1), (1, 2), (3, 4)])
def test_an_entry_is_worth_keeping_from_the_next_request_on(minimum: int, requests: int) -> None:
    index = an_index(min_occurrences=minimum)
    entry = kept(index, "k")
    for _ in range(requests - 1):
        assert not index.is_worth_keeping(entry, 1)
        index.lookup("k", "", 1)
    assert index.is_worth_keeping(entry, 1)


def test_requests_are_remembered_for_two_periods() -> None:
    seen = Occurrences(10)
    assert [seen.see("k", now) for now in (0, 1, 12, 25)] == [1, 2, 3, 4]
    assert seen.see("k", 60) == 1
    assert seen.see("k", 50) == 2  # a clock that goes back


def test_the_budget_counts_files_until_they_are_removed() -> None:
    index = an_index(max_bytes=25)
    first = kept(index, "a", 10)
    kept(index, "b", 10)
    assert (index.total_bytes, index.surplus(5), index.surplus(6)) == (20, 0, 1)
    index.drop(first)
    assert index.total_bytes == 20
    index.removed(first)
    index.removed(first)
    assert index.total_bytes == 10


def test_without_a_budget_everything_fits() -> None:
    index = an_index()
    kept(index, "a", 1 << 50)
    assert index.surplus(1 << 50) == 0


def test_who_was_used_longest_ago_goes_first() -> None:
    index = an_index()
    entries = {key: kept(index, key) for key in "abcd"}
    index.lookup("a", "", 1)
    reading = entries["c"].join(Reader(), is_owner=False)
    filling, _ = index.lookup("e", "", 1)
    assert list(index.victims()) == [entries["b"], entries["d"], entries["a"]]
    entries["c"].leave(reading)
    assert list(index.victims()) == [entries[x] for x in "bcda"]
    assert filling.state is State.FILLING


def test_a_failed_or_dropped_entry_is_not_kept() -> None:
    index = an_index()
    dropped = kept(index, "k")
    index.drop(dropped)
    assert not index.is_worth_keeping(dropped, 1)
    filling, _ = index.lookup("k", "", 1)
    assert not index.is_worth_keeping(filling, 1)


def test_dropping_a_former_entry_leaves_its_successor() -> None:
    index = an_index()
    former = kept(index, "k")
    index.drop(former)
    new, _ = index.lookup("k", "", 1)
    index.drop(former)
    assert index.lookup("k", "", 2) == (new, False)
