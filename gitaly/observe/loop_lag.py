"""How late the event loop is: what every call waits for, each time that it has to wait at all."""

import asyncio
import time
from typing import Final

from prometheus_client import CollectorRegistry, Histogram

PERIOD_SECONDS: Final = 0.1
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class LoopLag:
    """Sleeps, and looks how much longer it took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "gitaly_event_loop_lag_seconds",
            "How late the event loop came back to somebody who slept, ten times a second.",
            registry=registry,
            buckets=BUCKETS,
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            started = time.perf_counter()
            await asyncio.sleep(PERIOD_SECONDS)
            self._lag.observe(max(0.0, time.perf_counter() - started - PERIOD_SECONDS))
