"""Limits that change while calls run and wait."""

import asyncio

import pytest

from gitaly.limits import Limiter, Refused, Rule, Turn
from gitaly.limits.gates import Gates
from tests.limits.conftest import Limit, Metrics


async def entered(limiter: Limiter, count: int) -> list[Turn]:
    return [await limiter.enter("a") for _ in range(count)]


async def waiters(limiter: Limiter, count: int) -> list[asyncio.Task[Turn]]:
    tasks = [asyncio.create_task(limiter.enter("a")) for _ in range(count)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


def leave(limiter: Limiter, turns: list[Turn]) -> None:
    for turn in turns:
        limiter.leave(turn)


async def test_a_raised_limit_lets_waiters_in_at_once(limit: Limit) -> None:
    limiter = limit(1)
    running = await entered(limiter, 1)
    waiting = await waiters(limiter, 3)
    limiter.adopt(Rule(concurrency=3))
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False, True, True]
    leave(limiter, running)
    leave(limiter, [await task for task in waiting])
    assert limiter.keys == 0


async def test_under_a_lowered_limit_those_who_run_end_what_they_do(limit: Limit) -> None:
    limiter = limit(3)
    first, *others = await entered(limiter, 3)
    (waiting,) = await waiters(limiter, 1)
    limiter.adopt(Rule(concurrency=1))
    leave(limiter, others)
    await asyncio.sleep(0)
    assert not waiting.done()
    leave(limiter, [first])
    leave(limiter, [await waiting])
    assert limiter.keys == 0


async def test_a_shorter_queue_sends_nobody_away_who_waits(limit: Limit) -> None:
    limiter = limit(1, 5)
    running = await entered(limiter, 1)
    waiting = await waiters(limiter, 4)
    limiter.adopt(Rule(concurrency=1, queue_size=2))
    with pytest.raises(Refused):
        await limiter.enter("a")
    assert not any(task.done() for task in waiting)
    leave(limiter, running)
    for task in reversed(waiting):
        leave(limiter, [await task])


async def test_a_limit_that_is_gone_lets_everybody_in(limit: Limit) -> None:
    limiter = limit(1, 5)
    running = await entered(limiter, 1)
    waiting = await waiters(limiter, 4)
    limiter.adopt(Rule(concurrency=1 << 62))
    leave(limiter, running)
    leave(limiter, [await task for task in waiting])
    assert limiter.keys == 0


async def test_a_time_that_comes_later_counts_for_those_who_wait(limit: Limit) -> None:
    limiter = limit(1)
    running = await entered(limiter, 1)
    (waiting,) = await waiters(limiter, 1)
    limiter.adopt(Rule(concurrency=1, queue_wait_seconds=0.001))
    with pytest.raises(Refused, match="maximum time"):
        await waiting
    leave(limiter, running)


async def test_a_time_that_is_taken_away_counts_for_nobody(limit: Limit) -> None:
    limiter = limit(1, wait=0.01)
    running = await entered(limiter, 1)
    (waiting,) = await waiters(limiter, 1)
    limiter.adopt(Rule(concurrency=1))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    leave(limiter, running)
    leave(limiter, [await waiting])


async def test_a_limit_that_becomes_a_shadow_lets_everybody_run(
    limit: Limit, metrics: Metrics
) -> None:
    limiter = limit(1)
    running = await entered(limiter, 1)
    waiting = await waiters(limiter, 2)
    limiter.adopt(Rule(concurrency=1, shadow=True))
    turns = [await task for task in waiting]
    assert metrics.of_method("gitaly_concurrency_limiting_in_progress") == 3
    leave(limiter, [*running, *turns])
    assert limiter.keys == 0


async def test_a_shadow_that_becomes_a_limit_counts_those_who_run_already(limit: Limit) -> None:
    limiter = limit(1, shadow=True)
    first, second = await entered(limiter, 2)
    limiter.adopt(Rule(concurrency=1))
    (waiting,) = await waiters(limiter, 1)
    leave(limiter, [first])
    leave(limiter, [second])
    leave(limiter, [await waiting])
    assert limiter.keys == 0


def test_a_shorter_time_begins_when_it_is_set() -> None:
    gates = Gates(1, 0, 60)
    gates.enter("a", 0)
    gates.enter("a", 0)
    gates.set_queue(0, 10, 30)
    assert gates.next_expiry() == 40


def test_a_shorter_time_gives_nobody_more_than_was_left() -> None:
    gates = Gates(1, 0, 60)
    gates.enter("a", 0)
    gates.enter("a", 0)
    gates.set_queue(0, 10, 55)
    assert gates.next_expiry() == 60


def test_a_longer_time_counts_from_the_arrival() -> None:
    gates = Gates(1, 0, 10)
    gates.enter("a", 0)
    gates.enter("a", 0)
    gates.set_queue(0, 60, 5)
    assert gates.next_expiry() == 60


def test_who_comes_after_a_shorter_time_was_set_waits_for_that_time() -> None:
    gates = Gates(1, 0, 60)
    for arrival in (0, 1, 20):
        gates.enter("a", arrival)
    gates.set_queue(0, 5, 21)
    late = gates.enter("a", 22)
    assert [ticket.arrived for ticket in gates.expire(26)] == [1, 20]
    assert gates.next_expiry() == 27
    assert gates.expire(27) == [late]
