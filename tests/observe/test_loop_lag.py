"""How late the event loop is, as Prometheus learns it."""

import asyncio
import time

from prometheus_client import CollectorRegistry

from gitaly.observe.loop_lag import PERIOD_SECONDS, LoopLag
from gitaly.tasks import background

LATE_SECONDS = 0.3


async def test_whoever_keeps_the_loop_busy_makes_it_late() -> None:
    registry = CollectorRegistry()

    def told(what: str) -> float:
        return registry.get_sample_value(f"gitaly_event_loop_lag_seconds_{what}") or 0.0

    async with background(LoopLag(registry).run()), asyncio.timeout(20):
        await asyncio.sleep(0)  # it has begun to sleep
        time.sleep(PERIOD_SECONDS + LATE_SECONDS)  # noqa: ASYNC251  # nobody can wake up meanwhile
        while not told("count"):  # noqa: ASYNC110  # nobody tells us of it
            await asyncio.sleep(0.01)
    assert told("sum") >= LATE_SECONDS
