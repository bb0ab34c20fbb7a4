"""One limit at work, in a running event loop."""

import asyncio
import random
import time

import pytest

from gitaly._pb.errors_pb2 import LimitError
from gitaly.limits import LeftQueue, Limiter, Refused, Turn
from tests.limits.conftest import RPC, Limit, Metrics


async def waiting(limiter: Limiter, count: int) -> list[asyncio.Task[Turn]]:
    """Callers who wait at the key "a"."""
    tasks = [asyncio.create_task(limiter.enter("a")) for _ in range(count)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


async def test_a_free_place_is_taken_without_waiting(limit: Limit, metrics: Metrics) -> None:
    limiter = limit(2, 3)
    turn = await limiter.enter("a")
    assert turn.fields() == {
        "limit.limiting_type": "per-rpc",
        "limit.limiting_key": "a",
        "limit.concurrency_queue_length": 1,
        "limit.concurrency_queue_ms": 0,
        "limit.concurrency_in_progress": 1,
    }
    assert metrics.of_method("gitaly_concurrency_limiting_in_progress") == 1
    assert metrics.of_method("gitaly_concurrency_limiting_acquiring_seconds_count") == 1
    limiter.leave(turn)
    assert metrics.of_method("gitaly_concurrency_limiting_in_progress") == 0
    assert limiter.keys == 0


async def test_every_series_exists_before_the_first_call(limit: Limit, metrics: Metrics) -> None:
    limit(1)
    for name in ("in_progress", "queued", "acquiring_seconds_count"):
        assert metrics.of_method(f"gitaly_concurrency_limiting_{name}") == 0
    dropped = metrics.of_method("gitaly_requests_dropped_total", reason="max_size")
    assert dropped is None


async def test_a_full_queue_refuses_at_once(limit: Limit, metrics: Metrics) -> None:
    limiter = limit(1, 1)
    turn = await limiter.enter("a")
    (waiter,) = await waiting(limiter, 1)
    with pytest.raises(Refused, match=r"^maximum queue size reached$") as refused:
        await limiter.enter("a")
    (detail,) = refused.value.details
    assert isinstance(detail, LimitError)
    assert detail.error_message == "maximum queue size reached"
    assert detail.HasField("retry_after")
    assert detail.retry_after.ToNanoseconds() == 0
    assert refused.value.turn.fields() == {
        "limit.limiting_type": "per-rpc",
        "limit.limiting_key": "a",
        "limit.concurrency_queue_length": 1,
        "limit.concurrency_queue_ms": 0,
        "limit.concurrency_in_progress": 1,
        "limit.concurrency_dropped": "max_size",
        "limit.authenticated": "true",
    }
    more = {"reason": "max_size", "authenticated": "true"}
    assert metrics.of_method("gitaly_requests_dropped_total", **more) == 1
    assert metrics.of_method("gitaly_concurrency_limiting_queued") == 1
    limiter.leave(turn)
    limiter.leave(await waiter)


async def test_who_waited_as_long_as_allowed_is_refused(limit: Limit, metrics: Metrics) -> None:
    limiter = limit(1, 1, 0.05)
    turn = await limiter.enter("a")
    with pytest.raises(Refused, match=r"^maximum time in concurrency queue reached$") as refused:
        await limiter.enter("a")
    assert refused.value.turn.waited_seconds >= 0.05
    more = {"reason": "max_time", "authenticated": "true"}
    assert metrics.of_method("gitaly_requests_dropped_total", **more) == 1
    assert metrics.of_method("gitaly_concurrency_limiting_queued") == 0
    assert metrics.of_method("gitaly_concurrency_limiting_acquiring_seconds_count") == 1
    limiter.leave(turn)
    assert limiter.keys == 0


async def test_one_timer_serves_all_who_wait(limit: Limit) -> None:
    limiter = limit(1, 9, 0.05)
    turn = await limiter.enter("a")
    tasks = await waiting(limiter, 3)
    await asyncio.sleep(0.02)
    tasks += await waiting(limiter, 3)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(x) for x in done] == [Refused] * 6
    limiter.leave(turn)


async def test_a_waiter_that_is_cancelled_returns_its_place(limit: Limit, metrics: Metrics) -> None:
    limiter = limit(1, 1)
    turn = await limiter.enter("a")
    (waiter,) = await waiting(limiter, 1)
    waiter.cancel()
    with pytest.raises(LeftQueue) as left:
        await waiter
    assert str(left.value) == "unexpected error when dequeueing request: context canceled"
    assert left.value.turn.dropped == "other"
    (other,) = await waiting(limiter, 1)  # there is room again
    limiter.leave(turn)
    limiter.leave(await other)
    assert limiter.keys == 0
    more = {"reason": "other", "authenticated": "true"}
    assert metrics.of_method("gitaly_requests_dropped_total", **more) == 1


async def test_a_cancellation_at_the_deadline_counts_as_time_in_the_queue(limit: Limit) -> None:
    limiter = limit(1)
    turn = await limiter.enter("a")
    waiter = asyncio.create_task(limiter.enter("a", deadline=time.monotonic()))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(LeftQueue, match=r"^maximum time in concurrency queue reached$") as left:
        await waiter
    assert left.value.turn.dropped == "max_time"
    limiter.leave(turn)


async def test_a_waiter_cancelled_just_when_its_turn_comes_passes_it_on(limit: Limit) -> None:
    limiter = limit(1, 9)
    turn = await limiter.enter("a")
    older, newer = await waiting(limiter, 2)
    limiter.leave(turn)  # the turn of the newer, which has not run yet
    newer.cancel()
    limiter.leave(await asyncio.wait_for(older, 5))
    assert newer.cancelled()
    assert limiter.keys == 0


async def test_a_turn_is_not_lost_on_a_waiter_already_cancelled(limit: Limit) -> None:
    limiter = limit(1, 9)
    turn = await limiter.enter("a")
    older, newer = await waiting(limiter, 2)
    newer.cancel()
    limiter.leave(turn)  # the newer one has not noticed yet
    limiter.leave(await asyncio.wait_for(older, 5))
    assert limiter.keys == 0


async def test_a_handler_that_crashes_returns_its_place(limit: Limit) -> None:
    limiter = limit(1)
    with pytest.raises(ZeroDivisionError):
        async with limiter.slot("a"):
            raise ZeroDivisionError
    assert limiter.keys == 0


async def test_a_higher_limit_wakes_waiters(limit: Limit) -> None:
    limiter = limit(1)
    turns = [await limiter.enter("a")]
    tasks = await waiting(limiter, 2)
    limiter.resize(3)
    turns += await asyncio.gather(*tasks)
    for turn in turns:
        limiter.leave(turn)
    assert limiter.keys == 0


async def test_in_shadow_nobody_waits_and_everything_is_counted(
    limit: Limit, metrics: Metrics
) -> None:
    limiter = limit(1, 1, 0.01, shadow=True)
    runs, queued, refused = [await limiter.enter("a") for _ in range(3)]
    assert [runs.shadow, queued.shadow, refused.shadow] == ["", "queued", "max_size"]
    assert "limit.shadow" not in runs.fields()
    assert queued.fields()["limit.shadow"] == "queued"
    name = f"perRPC{RPC}"
    assert metrics.of_method("gitaly_concurrency_limiting_in_progress") == 3
    assert metrics.of_method("gitaly_concurrency_limiting_queued") == 0
    assert metrics.value("gitaly_limit_shadow_queued_total", limit=name) == 1
    shadow = "gitaly_limit_shadow_dropped_total"
    assert metrics.value(shadow, limit=name, reason="max_size") == 1
    assert metrics.value("gitaly_limit_most_wanted", limit=name) == 3
    while metrics.value(shadow, limit=name, reason="max_time") is None:  # noqa: ASYNC110  # a timer's
        await asyncio.sleep(0.01)
    assert metrics.value(shadow, limit=name, reason="max_time") == 1
    assert metrics.of_method("gitaly_requests_dropped_total", reason="max_size") is None
    for turn in (runs, queued, refused):
        limiter.leave(turn)
    assert limiter.keys == 0
    assert metrics.of_method("gitaly_concurrency_limiting_in_progress") == 0


async def test_ten_thousand_cancelled_callers_leave_nothing(limit: Limit, metrics: Metrics) -> None:
    limiter, dice = limit(3, 8, 0.02), random.Random(4)  # repeatable

    async def call(key: str) -> None:
        async with limiter.slot(key):
            await asyncio.sleep(dice.choice((0, 0, 0.001, 0.01)))

    tasks = []
    for number in range(10_000):
        tasks.append(asyncio.create_task(call(f"r{dice.randrange(5)}")))
        dice.choice(tasks[-120:]).cancel()
        if number % 50 == 0:
            limiter.resize(dice.randrange(1, 6))
            await asyncio.sleep(0.001)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(x) for x in ended} == {asyncio.CancelledError, Refused, type(None)}
    for reason in ("max_size", "max_time", "other"):
        more = {"reason": reason, "authenticated": "true"}
        assert (metrics.of_method("gitaly_requests_dropped_total", **more) or 0) > 0
    assert limiter.keys == 0
    assert metrics.of_method("gitaly_concurrency_limiting_in_progress") == 0
    assert metrics.of_method("gitaly_concurrency_limiting_queued") == 0
