"""Reads that are cancelled to save the node, as their clients see it."""

import asyncio
import io
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from gitaly.errors import ResourceExhausted
from gitaly.git import (
    Child,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
    cpu_seconds_of_groups,
)
from gitaly.limits import LoadShedder
from gitaly.limits.conditions import Event
from gitaly.limits.shedder import Shed
from gitaly.observe.log import make_logger
from gitaly.rpc import Call, RunningReads
from gitaly.storage import Blocking
from tests.rpc.conftest import Serve
from tests.rpc.slow import (
    EXISTS,
    REPLICATE,
    Repositories,
    asking,
    detail_of,
    exists,
    replicate,
)
from tests.transport.wires import until


async def cpu(groups: Iterable[int]) -> Mapping[int, float]:
    return dict.fromkeys(groups, 2.0)


async def test_a_read_that_is_shed_fails_with_the_reason(serve: Serve) -> None:
    servicer, reads = Repositories(), RunningReads(cpu)
    async with serve(servicer, reads=reads) as node:
        task = asking(node, EXISTS, exists())
        await servicer.until_begun(1)
        (read,) = await reads.burdens()
        assert (read.grpc_method, read.repository) == ("RepositoryExists", "a.git")
        read.cancel(Shed())
        read.cancel(ResourceExhausted("said once"))
        answer = await task
        assert await reads.burdens() == []
        line = node.lines()[0]
    text = "RPC cancelled by load shedder: high CPU usage"
    assert (answer.code, answer.text) == ("RESOURCE_EXHAUSTED", text)
    assert detail_of(answer).error_message == "high CPU usage"
    assert (line["grpc.code"], line["error"]) == ("ResourceExhausted", text)


async def test_prometheus_sees_how_many_reads_could_be_shed(serve: Serve) -> None:
    servicer, reads, registry = Repositories(), RunningReads(cpu), CollectorRegistry()
    reads.show(registry)

    def shown() -> float | None:
        return registry.get_sample_value("gitaly_burdenmonitor_active_rpcs")

    async with serve(servicer, reads=reads) as node:
        assert shown() == 0
        tasks = [asking(node, EXISTS, exists()), asking(node, EXISTS, exists())]
        await servicer.until_begun(2)
        assert shown() == 2
        servicer.may_end.release()
        servicer.may_end.release()
        for task in tasks:
            await task
        assert shown() == 0


async def test_a_change_is_never_shed(serve: Serve) -> None:
    servicer, reads = Repositories(), RunningReads(cpu)
    async with serve(servicer, reads=reads) as node:
        task = asking(node, REPLICATE, replicate("a.git"))
        await servicer.until_begun(1)
        assert await reads.burdens() == []
        servicer.may_end.release()
        await task


class Children(Repositories):
    """Its calls have a git child that runs and one that has ended."""

    async def work(self, call: Call) -> None:
        call.account.groups.add(4711)
        call.account.user_seconds += 1.0
        await super().work(call)


async def test_children_that_run_and_that_have_ended_count(serve: Serve) -> None:
    servicer, reads = Children(), RunningReads(cpu)
    async with serve(servicer, reads=reads) as node:
        task = asking(node, EXISTS, exists())
        await servicer.until_begun(1)
        (read,) = await reads.burdens()
        assert read.cpu_seconds == 3.0
        servicer.may_end.release()
        await task


async def test_a_client_that_leaves_at_the_same_time_is_just_gone(serve: Serve) -> None:
    servicer, reads = Repositories(), RunningReads(cpu)
    async with serve(servicer, reads=reads) as node:
        task = asking(node, EXISTS, exists(), timeout=0.5)
        await servicer.until_begun(1)
        (read,) = await reads.burdens()
        handler: Any = read._task
        handler.cancel()  # as the core does
        read.cancel(Shed())
        answer = await task
        await until(lambda: len(node.lines()) == 1)
    assert answer.code != "RESOURCE_EXHAUSTED"
    assert node.running == set()


class Busy(Repositories):
    """Its calls run a child that works for ever, as a pack that is computed."""

    def __init__(self, processes: Processes) -> None:
        super().__init__()
        self.processes = processes
        self.children: list[Child] = []

    async def work(self, call: Call) -> None:
        script = ["/bin/sh", "-c", "while :; do :; done & wait"]
        async with self.processes.run(script, {}, cmd="sh") as child:
            self.children.append(child)
            await super().work(call)


async def test_a_read_whose_child_works_is_shed_with_its_child(serve: Serve) -> None:
    registry = CollectorRegistry()
    processes = Processes(PosixSpawner(), PrometheusCommandMetrics(registry, ""))
    servicer = Busy(processes)
    blocking = Blocking()
    reads = RunningReads(lambda groups: blocking.run(cpu_seconds_of_groups, list(groups)))
    log = make_logger(io.BytesIO())
    shedder = LoadShedder(reads.burdens, registry, log)
    async with serve(servicer, reads=reads) as node:
        task = asking(node, EXISTS, exists())
        await servicer.until_begun(1)
        while not (await reads.burdens())[0].cpu_seconds:  # noqa: ASYNC110  # the kernel counts
            await asyncio.sleep(0.02)
        event = Event(condition="LoadShedderOOMKill", reason="loadshedder_oom_kill", stats={})
        assert await shedder.shed(event, now=0.0) == 1
        answer = await task
        (child,) = servicer.children
        assert child.exit is not None
    assert answer.text == "RPC cancelled by load shedder: high CPU usage"
