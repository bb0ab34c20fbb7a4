"""Limits fall, and load is shed, when real processes squeeze the real group of the node."""

import asyncio
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gitaly.cgroups import ParentUsage, Resources, parent_usage
from gitaly.errors import ResourceExhausted
from gitaly.git import PIPE, Child, Processes, StoppedByLimit
from gitaly.limits import (
    AdaptiveLimit,
    AdaptiveMetrics,
    Burden,
    Calibrator,
    Limiter,
    LimitMetrics,
    LoadShedder,
    Rule,
    Thresholds,
    Watch,
)
from gitaly.observe.log import make_logger
from gitaly.tasks import background
from tests.cgroups.conftest import Opened, Place

SPEED = 100  # the watch's clock runs so much faster: a reading each 0.1 s, calibrated each 0.3 s
SECONDS = 20
MIB = 1024 * 1024
HOLD = """
import sys
held = bytearray({} << 20)
held[::4096] = b"x" * (len(held) // 4096)
print(flush=True)
sys.stdin.read()
"""
SPIN = "print(flush=True)\nwhile True: pass"
BACKOFFS = "gitaly_concurrency_limiting_backoff_events_total"


@dataclass
class Costly:
    """A call that may be cancelled."""

    errors: list[ResourceExhausted] = field(default_factory=list)
    grpc_service: str = "a.B"
    grpc_method: str = "C"
    correlation_id: str = ""
    repository: str = ""
    cpu_seconds: float = 1.0

    def cancel(self, error: ResourceExhausted) -> None:
        self.errors.append(error)


class Watched:
    """A limit of 8, between 2 and 9, that moves with what a place tells of itself."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._log = io.BytesIO()
        self._logger = make_logger(self._log, format="json", level="debug")
        monitor = LimitMetrics(place.registry, [1.0]).per_rpc("/a.B/C", authenticated=True)
        rule = Rule(concurrency=8, queue_size=0, queue_wait_seconds=0.0)
        self.limiter = Limiter(rule, monitor)
        self.call = Costly()

    async def usage(self) -> ParentUsage:
        groups = self._place.groups
        return parent_usage(groups.hierarchy.statistics(groups.parent_path))

    async def burdens(self) -> Sequence[Burden]:
        return [self.call]

    def watch(self) -> Watch:
        limit = AdaptiveLimit(name="a", limiter=self.limiter, minimum=2, maximum=9)
        return Watch(
            self.usage,
            Thresholds(throttled_ratio=0.25 / SPEED, pressures={}),
            Calibrator([limit]),
            metrics=AdaptiveMetrics(self._place.registry),
            shedder=LoadShedder(self.burdens, self._place.registry, self._logger),
            logger=self._logger,
            clock=lambda: time.monotonic() * SPEED,
            sleep=lambda seconds: asyncio.sleep(seconds / SPEED),
        )

    def backoffs(self, watcher: str) -> float:
        return self._place.registry.get_sample_value(BACKOFFS, {"watcher": watcher}) or 0.0

    def decreases(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._log.getvalue().splitlines()]
        return [line for line in lines if line["msg"] == "Multiplicative decrease"]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not happened():  # noqa: ASYNC110 - what happens is the kernel's, which tells nobody
            await asyncio.sleep(0.02)


def program(processes: Processes, script: str) -> AbstractAsyncContextManager[Child]:
    """In the group of a repository."""
    argv = [sys.executable, "-I", "-S", "-c", script]
    return processes.run(argv, {}, cmd="x", placement="default/a.git", stdin=PIPE)


@asynccontextmanager
async def running(processes: Processes, script: str) -> AsyncIterator[None]:
    """A program, once it has said that it is at it."""
    async with program(processes, script) as child:
        assert child.stdout is not None
        assert await child.stdout.read()
        yield


async def test_limits_fall_while_memory_is_short_and_rise_again(opened: Opened) -> None:
    async with opened(parent=Resources(memory_bytes=100 * MIB)) as place:
        watched = Watched(place)
        async with background(watched.watch().run()):
            async with running(place.processes, HOLD.format(80)):
                await until(lambda: watched.limiter.limit == 2)
            await until(lambda: watched.limiter.limit > 2)
    assert watched.backoffs("CgroupMemory") > 0
    line = watched.decreases()[0]
    assert (line["limit_rpc"], line["reason"]) == ("a", "condition_memory_anon")
    assert line["new_limit"] == line["previous_limit"] // 2
    assert 0.6 <= line["stats.anon_ratio"] <= 1
    assert line["stats.memory_limit"] == 100 * MIB
    assert watched.call.errors == []


async def test_limits_fall_while_the_quota_of_processors_is_used_up(opened: Opened) -> None:
    async with opened(parent=Resources(cpu_quota_us=20_000)) as place:
        watched = Watched(place)
        async with background(watched.watch().run()), running(place.processes, SPIN):
            await until(lambda: watched.limiter.limit == 2)
    assert watched.backoffs("CgroupCpu") > 0
    assert watched.decreases()[0]["reason"] == "condition_cpu_throttling"


async def test_load_is_shed_when_the_kernel_has_killed_something(opened: Opened) -> None:
    async with opened(parent=Resources(memory_bytes=32 * MIB)) as place:
        watched = Watched(place)
        async with background(watched.watch().run()):
            await until(lambda: watched.limiter.limit == 9)  # there have been quiet readings
            with pytest.raises(StoppedByLimit):
                async with program(place.processes, HOLD.format(200)) as child:
                    await child.wait()
            await until(lambda: bool(watched.call.errors))
    assert len(watched.call.errors) == 1
