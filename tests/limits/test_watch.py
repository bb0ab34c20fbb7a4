"""Adaptive limits and load shedding, on a clock that the test moves."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gitaly._pb.errors_pb2 import LimitError
from gitaly.errors import ResourceExhausted
from gitaly.limits import (
    AdaptiveLimit,
    AdaptiveMetrics,
    Burden,
    Calibrator,
    Limiter,
    LoadShedder,
    Thresholds,
    Watch,
)
from gitaly.observe.log import make_logger
from tests.limits.conftest import Limit, Metrics
from tests.limits.test_conditions import IO
from tests.limits.usages import GIB, Usage

CURRENT = "gitaly_concurrency_limiting_current_limit"
BACKOFFS = "gitaly_concurrency_limiting_backoff_events_total"
FULL = Usage(anonymous_bytes=GIB)


class TheEnd(Exception):
    """The clock has reached the end of the test."""


@dataclass
class Bench:
    """A watch whose readings come from a list, one for each ten seconds."""

    given: Sequence[Usage | Exception | None]
    metrics: Metrics
    now: float = 1000.0
    log: io.BytesIO = field(default_factory=io.BytesIO)
    burdens: Sequence[Burden] = ()

    def __post_init__(self) -> None:
        self.readings = list(self.given)

    async def usage(self) -> Usage | None:
        reading = self.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading

    async def sleep(self, seconds: float) -> None:
        if not self.readings:
            raise TheEnd
        self.now += seconds

    async def find(self) -> Sequence[Burden]:
        return self.burdens

    async def run(self, *limits: AdaptiveLimit) -> None:
        logger = make_logger(self.log, format="json", level="debug")
        watch = Watch(
            self.usage,
            Thresholds(pressures={"io": IO}),
            Calibrator(limits),
            metrics=AdaptiveMetrics(self.metrics.registry),
            shedder=LoadShedder(self.find, self.metrics.registry, logger),
            logger=logger,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        with pytest.raises(TheEnd):
            await watch.run()

    def lines(self, message: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["msg"] == message]


def adaptive(limiter: Limiter, name: str = "a", minimum: int = 2, top: int = 12) -> AdaptiveLimit:
    return AdaptiveLimit(name=name, limiter=limiter, minimum=minimum, maximum=top)


async def test_a_limit_rises_by_one_every_half_minute_while_all_is_well(
    limit: Limit, metrics: Metrics
) -> None:
    limiter = limit(10)
    bench = Bench([Usage()] * 10, metrics)  # at 0, 10, … 90 seconds
    await bench.run(adaptive(limiter))
    assert limiter.limit == 12  # not 13
    assert metrics.value(CURRENT, limit="a") == 12
    (first, *_) = bench.lines("Additive increase")
    assert (first["level"], first["limit_rpc"]) == ("debug", "a")
    assert (first["previous_limit"], first["new_limit"]) == (10, 11)


async def test_a_limit_falls_to_half_once_however_many_events_there_were(
    limit: Limit, metrics: Metrics
) -> None:
    limiter = limit(11)
    bench = Bench([FULL, FULL, FULL, Usage()], metrics)
    await bench.run(adaptive(limiter))
    assert limiter.limit == 5
    assert metrics.value(BACKOFFS, watcher="CgroupMemory") == 3
    (line,) = bench.lines("Multiplicative decrease")
    assert (line["level"], line["limit_rpc"]) == ("info", "a")
    assert (line["previous_limit"], line["new_limit"]) == (11, 5)
    assert (line["condition"], line["reason"]) == ("CgroupMemory", "condition_memory_anon")
    assert line["stats.anon_ratio"] == 1.0


async def test_a_limit_falls_no_lower_than_its_least_and_recovers(
    limit: Limit, metrics: Metrics
) -> None:
    limiter = limit(5)
    await Bench([FULL] * 10, metrics).run(adaptive(limiter))
    assert limiter.limit == 2
    await Bench([Usage()] * 4, Metrics()).run(adaptive(limiter))
    assert limiter.limit == 3


async def test_all_limits_move_together(limit: Limit, metrics: Metrics) -> None:
    one, other = limit(8), limit(12)
    await Bench([FULL] * 4, metrics).run(adaptive(one), adaptive(other, "b", 1, 99))
    assert (one.limit, other.limit) == (4, 6)
    assert metrics.value(CURRENT, limit="b") == 6


async def test_a_reading_that_fails_is_no_event_and_is_logged_once(
    limit: Limit, metrics: Metrics
) -> None:
    limiter = limit(10)
    bench = Bench([OSError("gone"), ValueError("max"), *[OSError("gone")] * 3], metrics)
    await bench.run(adaptive(limiter))
    assert limiter.limit == 11
    assert len(bench.lines("cannot read the node's control group")) == 1


async def test_a_bug_in_a_reader_is_told_of(metrics: Metrics) -> None:
    bench = Bench([ZeroDivisionError("a bug")], metrics)
    with pytest.raises(ZeroDivisionError):
        await bench.run()
    (line,) = bench.lines("limits no longer move")
    assert (line["level"], line["error"]) == ("error", "ZeroDivisionError: a bug")


async def test_without_a_control_group_limits_only_rise(limit: Limit, metrics: Metrics) -> None:
    limiter = limit(10)
    await Bench([None] * 4, metrics).run(adaptive(limiter))
    assert limiter.limit == 11


async def test_pressure_is_logged(metrics: Metrics) -> None:
    bench = Bench([Usage(io_pressure=15), Usage(io_pressure=50)], metrics)
    await bench.run()
    (warning,) = bench.lines("PSI pressure above warning threshold")
    (error,) = bench.lines("Critical PSI pressure detected")
    assert (warning["level"], error["level"]) == ("warning", "error")
    assert error["psi_resource"] == "io"


@dataclass
class Read:
    cpu_seconds: float
    correlation_id: str = "c1"
    grpc_service: str = "gitaly.RefService"
    grpc_method: str = "ListRefs"
    repository: str = "a.git"
    error: ResourceExhausted | None = None

    def cancel(self, error: ResourceExhausted) -> None:
        self.error = error


KILLS = [Usage(oom_kills=number) for number in range(4)]


async def test_the_ten_costliest_reads_are_shed(metrics: Metrics) -> None:
    reads = [Read(float(number)) for number in range(15)]
    bench = Bench(KILLS[:2], metrics, burdens=reads)
    await bench.run()
    assert [read.cpu_seconds for read in reads if read.error] == list(range(5, 15))
    error = reads[14].error
    assert str(error) == "RPC cancelled by load shedder: high CPU usage"
    assert error is not None
    (detail,) = error.details
    assert isinstance(detail, LimitError)
    assert detail.error_message == "high CPU usage"
    labels = {"grpc_service": "gitaly.RefService", "grpc_method": "ListRefs"}
    name = "gitaly_loadshedder_rpcs_shed_total"
    assert metrics.value(name, reason="high CPU usage", **labels) == 10
    (summary,) = bench.lines("load shedder cancelled in-flight RPCs")
    assert (summary["sniped_count"], summary["reason"]) == (10, "loadshedder_oom_kill")
    assert len(bench.lines("load shedder cancelled RPC")) == 10


async def test_load_is_not_shed_again_within_fifteen_seconds(metrics: Metrics) -> None:
    bench = Bench(KILLS, metrics, burdens=[Read(1.0)])  # kills at 10, 20 and 30 seconds
    await bench.run()
    assert len(bench.lines("load shedder cancelled in-flight RPCs")) == 2


async def test_a_read_that_costs_nothing_is_left_alone(metrics: Metrics) -> None:
    read = Read(0.0)
    await Bench(KILLS[:2], metrics, burdens=[read]).run()
    assert read.error is None
