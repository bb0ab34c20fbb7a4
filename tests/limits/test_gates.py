"""Who runs and who waits; every time is handed in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitaly.limits.gates import GateFull, Gates, State, Ticket


def test_as_many_run_as_the_limit_says_and_the_next_waits() -> None:
    gates = Gates(2, 1, 0)
    tickets = [gates.enter("a", 0) for _ in range(3)]
    assert [t.state for t in tickets] == [State.RUNNING, State.RUNNING, State.WAITING]
    assert (gates.running("a"), gates.waiting("a")) == (2, 1)


def test_who_finds_no_place_to_wait_is_turned_away() -> None:
    gates = Gates(1, 1, 0)
    gates.enter("a", 0)
    gates.enter("a", 0)
    with pytest.raises(GateFull):
        gates.enter("a", 0)
    assert (gates.running("a"), gates.waiting("a")) == (1, 1)


def test_without_a_bound_anybody_may_wait() -> None:
    gates = Gates(1, 0, 0)
    for _ in range(1000):
        gates.enter("a", 0)
    assert gates.waiting("a") == 999


def test_keys_do_not_know_each_other() -> None:
    gates = Gates(1, 1, 0)
    assert gates.enter("a", 0).state is State.RUNNING
    assert gates.enter("b", 0).state is State.RUNNING


def test_the_newest_waiter_is_served_first() -> None:
    gates = Gates(1, 3, 0)
    running = gates.enter("a", 0)
    first, second, third = (gates.enter("a", n) for n in (1, 2, 3))
    assert gates.leave(running) is third
    assert gates.leave(third) is second
    assert gates.leave(second) is first
    assert gates.leave(first) is None


def test_a_place_that_gets_free_is_not_stolen_by_a_newcomer() -> None:
    gates = Gates(1, 5, 0)
    running = gates.enter("a", 0)
    waiter = gates.enter("a", 0)
    assert gates.leave(running) is waiter
    assert gates.enter("a", 0).state is State.WAITING


def test_who_gives_up_waiting_leaves_its_place_to_others() -> None:
    gates = Gates(1, 1, 0)
    gates.enter("a", 0)
    waiter = gates.enter("a", 0)
    assert gates.leave(waiter) is None
    assert gates.enter("a", 0).state is State.WAITING


def test_leaving_twice_changes_nothing() -> None:
    gates = Gates(1, 2, 0)
    running, waiter = gates.enter("a", 0), gates.enter("a", 0)
    assert gates.leave(running) is waiter
    assert gates.leave(running) is None
    assert gates.running("a") == 1


def test_a_gate_is_forgotten_when_nobody_stands_there() -> None:
    gates = Gates(1, 1, 0)
    tickets = [gates.enter("a", 0), gates.enter("a", 0), gates.enter("b", 0)]
    assert len(gates) == 2
    for ticket in tickets:
        gates.leave(ticket)
    assert len(gates) == 0


def test_the_time_of_the_oldest_is_up_first() -> None:
    gates = Gates(1, 5, 10)
    gates.enter("a", 0)
    assert gates.next_expiry() is None
    first, second = gates.enter("a", 1), gates.enter("a", 4)
    assert gates.next_expiry() == 11
    assert gates.expire(10.9) == []
    assert gates.expire(11) == [first]
    assert gates.next_expiry() == 14
    assert gates.expire(99) == [second]
    assert gates.leave(second) is None
    assert (gates.running("a"), gates.waiting("a")) == (1, 0)


def test_a_higher_limit_lets_waiters_run_at_once_the_newest_first() -> None:
    gates = Gates(1, 5, 0)
    gates.enter("a", 0)
    first, second, third = (gates.enter("a", n) for n in (1, 2, 3))
    assert gates.resize(3) == [third, second]
    assert first.state is State.WAITING


def test_after_the_limit_fell_those_who_run_may_end_and_nobody_follows() -> None:
    gates = Gates(3, 5, 0)
    running = [gates.enter("a", 0) for _ in range(3)]
    waiter = gates.enter("a", 0)
    assert gates.resize(1) == []
    assert gates.leave(running[0]) is None
    assert gates.leave(running[1]) is None
    assert gates.leave(running[2]) is waiter


def test_those_who_still_run_after_a_fall_leave_less_room_to_wait() -> None:
    gates = Gates(4, 2, 0)
    for _ in range(4):
        gates.enter("a", 0)
    gates.resize(1)
    with pytest.raises(GateFull):
        gates.enter("a", 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "enter", "leave", "leave", "resize", "time"]),
        st.integers(0, 30),
    ),
    max_size=120,
)


class Model:
    """Gates, and every ticket they gave."""

    def __init__(self, limit: int, places: int, wait: int) -> None:
        self.gates = Gates(limit, places, wait)
        self.tickets: list[Ticket] = []
        self.limit, self.places, self.wait = limit, places, wait
        self.highest, self.now = limit, 0

    def those(self, key: str, *states: State) -> list[Ticket]:
        return [t for t in self.tickets if t.key == key and t.state in states]

    def enter(self, number: int) -> None:
        key = "ab"[number % 2]
        inside = len(self.those(key, State.RUNNING, State.WAITING))
        is_full = bool(self.places) and inside >= self.limit + self.places
        try:
            self.tickets.append(self.gates.enter(key, self.now))
        except GateFull:
            assert is_full
        else:
            assert not is_full

    def leave(self, number: int) -> None:
        inside = [t for t in self.tickets if t.state is not State.OUT]
        if inside:
            self.gates.leave(inside[number % len(inside)])

    def resize(self, number: int) -> None:
        self.limit = 1 + number % 4
        self.highest = max(self.highest, self.limit)
        self.gates.resize(self.limit)

    def time(self, number: int) -> None:
        self.now += number
        for ticket in self.gates.expire(self.now):
            assert ticket.arrived + self.wait <= self.now

    def check(self) -> None:
        for key in "ab":
            running = len(self.those(key, State.RUNNING))
            waiting = len(self.those(key, State.WAITING))
            assert (self.gates.running(key), self.gates.waiting(key)) == (running, waiting)
            assert running <= self.highest
            assert not waiting or running >= self.limit  # nobody waits beside a free place


@settings(max_examples=400, deadline=None)
@given(STEPS, st.integers(1, 4), st.integers(0, 4), st.sampled_from([0, 5]))
def test_whatever_happens_no_place_is_lost(
    steps: list[tuple[str, int]], limit: int, places: int, wait: int
) -> None:
    model = Model(limit, places, wait)
    for action, number in steps:
        getattr(model, action)(number)
        model.check()
    for ticket in model.tickets:
        model.gates.leave(ticket)
    assert len(model.gates) == 0
    assert model.gates.next_expiry() is None
