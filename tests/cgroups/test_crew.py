import random

import pytest

from gitaly.cgroups.crew import BIRTHS_AT_ONCE, Crew, QueueFull, Ticket, Worker


def crew(size: int, most: int = 8, places: int = 5) -> Crew[int]:
    crew: Crew[int] = Crew(most=most, places=places, patience_seconds=10)
    for number in range(size):
        crew.add(Worker(number))
    return crew


def served(crew: Crew[int]) -> list[tuple[str, int]]:
    found = []
    while (pair := crew.next()) is not None:
        found.append((pair[0].group, pair[1].process))
    return found


def ask(crew: Crew[int], *groups: str) -> list[Ticket]:
    tickets = [Ticket(group, 0.0) for group in groups]
    for ticket in tickets:
        crew.enter(ticket)
    return tickets


def test_a_group_keeps_its_spawner() -> None:
    ours = crew(3)
    ask(ours, "a")
    [(_, number)] = served(ours)
    ours.born(ours.workers[number], 1.0, lives=True)
    ask(ours, "b", "a")
    assert served(ours)[1] == ("a", number)


def test_another_group_gets_another_spawner_while_the_first_has_children() -> None:
    ours = crew(2)
    ask(ours, "a")
    served(ours)
    ours.born(ours.workers[0], 1.0, lives=True)
    ask(ours, "b")
    assert served(ours) == [("b", 1)]


def test_a_group_that_stands_still_occupies_few_spawners() -> None:
    ours = crew(5)
    ask(ours, "a", "a", "a", "a")
    assert len(served(ours)) == BIRTHS_AT_ONCE
    assert ours.waiting == 2
    ask(ours, "b")
    assert [group for group, _ in served(ours)] == ["b"]


def test_a_spawner_that_waits_inside_a_group_at_work_is_not_sent_elsewhere() -> None:
    """It could be as slow to leave as that group is slow."""
    ours = crew(2)
    ask(ours, "a", "a")
    served(ours)
    for worker in ours.workers:
        ours.born(worker, 1.0, lives=True)
    ours.died(ours.workers[1], "a", 2.0)  # idle, and parked in a
    ask(ours, "b")
    assert ours.needs_another()
    assert served(ours) == []
    ours.add(Worker(2))
    assert served(ours) == [("b", 2)]


def test_one_is_always_kept_ready_up_to_the_most() -> None:
    ours = crew(0, most=2)
    assert ours.needs_another()
    ours.add(Worker(0))
    assert not ours.needs_another()
    ask(ours, "a")
    served(ours)
    assert ours.needs_another()
    ours.add(Worker(1))
    assert not ours.needs_another()


def test_groups_share_spawners_when_there_are_no_more() -> None:
    ours = crew(2, most=2)
    ask(ours, "a", "b")
    served(ours)
    for worker in ours.workers:
        ours.born(worker, 1.0, lives=True)
    ask(ours, "c")
    assert [group for group, _ in served(ours)] == ["c"]


def test_groups_take_turns() -> None:
    ours = crew(1, most=1)
    ask(ours, "a", "a", "a", "b")
    order = []
    for _ in range(4):
        [(group, _)] = served(ours)
        order.append(group)
        ours.born(ours.workers[0], 1.0, lives=False)
    assert order == ["a", "b", "a", "a"]


def test_a_full_queue_refuses_and_so_does_one_whose_first_waits_too_long() -> None:
    ours = crew(0, most=0, places=2)
    ask(ours, "a", "a")
    with pytest.raises(QueueFull):
        ask(ours, "a")
    ask(ours, "b")
    with pytest.raises(QueueFull):
        ours.enter(Ticket("b", 10.1))


def test_who_leaves_the_queue_is_not_served() -> None:
    ours = crew(1)
    ours.leave(ask(ours, "a")[0])
    assert (ours.waiting, served(ours)) == (0, [])


def test_a_lost_spawner_takes_its_birth_along() -> None:
    ours = crew(2)
    ask(ours, "a", "a", "a")
    served(ours)
    ours.lose(ours.workers[0])
    ours.add(Worker(7))
    assert served(ours) == [("a", 7)]


def test_those_idle_for_long_are_surplus_but_for_some() -> None:
    ours = crew(4)
    for worker, since in zip(ours.workers, (1.0, 2.0, 3.0, 100.0), strict=True):
        worker.idle_since = since
    assert [worker.process for worker in ours.surplus(before=50.0, keep=2)] == [0, 1]
    assert [worker.process for worker in ours.surplus(before=1.5, keep=2)] == [0]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_nobody_is_lost_and_nothing_is_exceeded(seed: int) -> None:
    chance = random.Random(seed)
    ours = crew(0, most=4, places=1000)
    births: dict[Worker[int], str] = {}
    alive: list[tuple[Worker[int], str]] = []
    entered = gone = 0
    for step in range(2000):
        match chance.randrange(5):
            case 0 | 1:
                ask(ours, chance.choice("abcdef"))
                entered += 1
            case 2 if births:
                worker = chance.choice(list(births))
                group = births.pop(worker)
                lives = chance.random() < 0.9
                ours.born(worker, step, lives=lives)
                gone += not lives
                if lives:
                    alive.append((worker, group))
            case 3 if alive:
                worker, group = alive.pop(chance.randrange(len(alive)))
                ours.died(worker, group, step)
                gone += 1
            case 4 if chance.random() < 0.1 and ours.workers:
                worker = chance.choice(ours.workers)
                ours.lose(worker)
                gone += (births.pop(worker, None) is not None) + sum(w is worker for w, _ in alive)
                alive = [(w, g) for w, g in alive if w is not worker]
        if ours.needs_another():
            ours.add(Worker(step))
        while (pair := ours.next()) is not None:
            births[pair[1]] = pair[0].group
        groups = list(births.values())
        assert all(groups.count(group) <= BIRTHS_AT_ONCE for group in groups)
        assert len(ours.workers) <= 4
        assert entered == gone + len(births) + len(alive) + ours.waiting
