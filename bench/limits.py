"""What a limit costs each call: CPU time of the same calls with and without it, in turns."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import Any

from prometheus_client import CollectorRegistry

from bench.report import Row
from gitaly._pb.ref_pb2 import RefExistsRequest
from gitaly._pb.shared_pb2 import Repository
from gitaly.config import load_text
from gitaly.git.account import Account
from gitaly.limiting import Limiting
from gitaly.observe.log import make_logger
from gitaly.rpc import Authenticator, AuthPolicy, Call, node_services
from gitaly.rpc.access_log import AccessLog
from gitaly.rpc.metrics import RpcMetrics
from gitaly.rpc.steps import Steps

CALLS = 500  # as many as may wait by default
ROUNDS = 60
MICROSECONDS = 1e6
PATH = "/gitaly.RefService/RefExists"
REQUEST = RefExistsRequest(repository=Repository(storage_name="default", relative_path="a.git"))
TABLE = f'[[concurrency]]\nrpc = "{PATH}"\nmax_queue_size = 100000\nmax_queue_wait = "1m"\n'
Handler = Callable[[Call], Awaitable[None]]


def handlers(concurrency: int) -> tuple[Handler, Handler, Callable[[], Call]]:
    """The innermost handler of a method, the same behind a limit, and a maker of calls."""
    registry, logger = CollectorRegistry(), make_logger(io.BytesIO())
    text = f"{TABLE}max_concurrency = {concurrency}\n"
    limits = Limiting(load_text(text), registry, logger).methods
    steps = Steps(
        metrics=RpcMetrics(registry, [], []),
        access_log=AccessLog(logger, {}),
        auth=Authenticator(AuthPolicy(), registry, time.time, logger),
        running=set(),
        logger=logger,
        limits=limits,
    )
    services: Any = node_services()
    method = next(m for m in services["gitaly.RefService"] if m.path == PATH)

    async def handle(call: Call) -> None:
        if call.admit is not None:
            await call.admit(REQUEST)
        await asyncio.sleep(0)

    def call() -> Call:
        return Call(
            method=method,
            metadata={"username": "jane"},
            all_metadata=(),
            started=0.0,
            account=Account(),
        )

    return handle, steps.limit(handle, PATH), call


async def one_by_one(handler: Handler, make: Callable[[], Call]) -> float:
    """CPU microseconds for each of many calls, none of which waits."""
    calls = [make() for _ in range(CALLS)]
    start = time.process_time()
    for call in calls:
        await handler(call)
    return (time.process_time() - start) / CALLS * MICROSECONDS


async def all_at_once(handler: Handler, make: Callable[[], Call]) -> float:
    """The same where all but those who run wait for their turn."""
    calls = [make() for _ in range(CALLS)]
    start = time.process_time()
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(_run(handler, call))
    return (time.process_time() - start) / CALLS * MICROSECONDS


async def _run(handler: Handler, call: Call) -> None:
    await handler(call)


def added(run: Callable[[Handler, Callable[[], Call]], Any], concurrency: int) -> float:
    """The median of what the limit adds, by pairs of rounds."""
    bare, limited, make = handlers(concurrency)
    differences: list[float] = []
    for _ in range(ROUNDS):
        without = asyncio.run(run(bare, make))
        differences.append(asyncio.run(run(limited, make)) - without)
    return median(differences)


def measure() -> Iterator[Row]:
    free = added(one_by_one, concurrency=10)
    yield Row("a limit, for a call that finds a place", free, "µs CPU", None, 20, "")
    # With one at a time, the event loop's turns would be measured: 5 µs for each handing over.
    waits = added(all_at_once, concurrency=20)
    yield Row("a limit, for a call that waits, 20 at a time", waits, "µs CPU", None, 20, "")
