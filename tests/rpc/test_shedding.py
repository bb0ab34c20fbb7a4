"""Reads that are cancelled to save the node, as their clients see it."""

from collections.abc import Iterable, Mapping
from typing import Any

from gitaly.errors import ResourceExhausted
from gitaly.limits.shedder import Shed
from gitaly.rpc import Call, RunningReads
from tests.rpc.conftest import Serve
from tests.rpc.test_limits import (
    EXISTS,
    REPLICATE,
    Repositories,
    asking,
    detail_of,
    exists,
    replicate,
    until,
)


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
