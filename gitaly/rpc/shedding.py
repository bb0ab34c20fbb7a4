"""Reads that may be cancelled to save the node, and how: the load shedder's hands."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge

from gitaly.errors import ResourceExhausted
from gitaly.rpc.call import Call

CpuOfGroups = Callable[[Iterable[int]], Awaitable[Mapping[int, float]]]  # seconds by group


class RunningRead:
    """An accessor call while its handler runs."""

    def __init__(self, call: Call, task: asyncio.Task[object]) -> None:
        self.grpc_service = call.method.service
        self.grpc_method = call.method.name
        self.cpu_seconds = 0.0
        self.error: ResourceExhausted | None = None
        self._call = call
        self._task = task

    @property
    def correlation_id(self) -> str:
        """Of the call."""
        return self._call.correlation_id

    @property
    def repository(self) -> str:
        """Its relative path; empty before the first message."""
        request = self._call.first_request
        found = self._call.method.target_repository(request) if request is not None else None
        return found.relative_path if found is not None else ""

    @property
    def groups(self) -> frozenset[int]:
        """The process groups of its git children."""
        return frozenset(self._call.account.groups)

    def add_up(self, running: Mapping[int, float]) -> None:
        """Note the CPU time of children that have ended and of those that run."""
        account = self._call.account
        ended = account.user_seconds + account.system_seconds
        self.cpu_seconds = ended + sum(running.get(group, 0.0) for group in self.groups)

    def cancel(self, error: ResourceExhausted) -> None:
        """End the call with this error, unless it is over."""
        if self.error is None and not self._task.done():
            self.error = error
            self._task.cancel()


class RunningReads:
    """The accessor calls that run now."""

    def __init__(self, cpu_of_groups: CpuOfGroups, *, is_on: bool = True) -> None:
        """`is_on`: whether calls that begin are watched; may be changed at any time."""
        self.is_on = is_on
        self._cpu_of_groups = cpu_of_groups
        self._running: set[RunningRead] = set()

    def show(self, registry: CollectorRegistry) -> None:
        """Let Prometheus see how many there are."""
        Gauge(
            "gitaly_burdenmonitor_active_rpcs",
            "Reads that run and that the load shedder could cancel",
            registry=registry,
        ).set_function(lambda: len(self._running))

    async def burdens(self) -> Sequence[RunningRead]:
        """All of them, with the CPU time that each has cost."""
        reads = list(self._running)
        running = await self._cpu_of_groups([group for read in reads for group in read.groups])
        for read in reads:
            read.add_up(running)
        return reads

    def watch(self, inner: Callable[[Call], Awaitable[None]]) -> Callable[[Call], Awaitable[None]]:
        """The step around the handlers of accessor methods."""

        async def handler(call: Call) -> None:
            if not self.is_on:
                await inner(call)
                return
            task = asyncio.current_task()
            assert task is not None
            read = RunningRead(call, task)
            self._running.add(read)
            try:
                await inner(call)
            except asyncio.CancelledError:
                # Both may want it cancelled at once, the client and we: then it is the client's.
                if read.error is None or task.uncancel() > 0:
                    raise
                raise read.error from None
            finally:
                self._running.discard(read)

        return handler
