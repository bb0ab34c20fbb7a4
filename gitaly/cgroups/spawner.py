"""Starts git inside the group of its repository, by spawner processes."""

import asyncio
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

from gitaly.cgroups.crew import Crew, QueueFull, Ticket, Worker
from gitaly.cgroups.groups import Group, Groups, SetupFailed
from gitaly.cgroups.inquest import Inquests
from gitaly.cgroups.metrics import SpawnMetrics
from gitaly.cgroups.orphans import kill_orphans
from gitaly.cgroups.spawner_process import (
    Descendant,
    GroupClosed,
    SpawnerLost,
    SpawnerProcess,
)
from gitaly.errors import NodeError, ResourceExhausted, Unavailable
from gitaly.git import Born, End, Launch, PosixSpawner, Spawner

P = ParamSpec("P")
T = TypeVar("T")

MOST_SPAWNERS: Final = 64  # 3 MB each, if so many repositories are at work at once
SPARE_SPAWNERS: Final = 2
IDLE_SECONDS: Final = 60.0
QUEUE_PLACES: Final = 500  # for each group
ATTEMPTS: Final = 4  # to start something, if groups or spawners vanish meanwhile
PATIENCE_SECONDS: Final = 10.0  # in the queue, and until the child is born


class Threads(Protocol):
    """Where to run what blocks."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...


class CgroupChild:
    """A process in its group."""

    def __init__(self, child: Descendant, inquests: Inquests, launch: Launch) -> None:
        self.pid = child.pid
        self.cgroup_path: str | None = child.group.path
        self._child = child
        self._inquests = inquests
        self._launch = launch
        self._status = 0
        self._peak_bytes = 0

    def watch(self, ended: Callable[[End], None]) -> None:
        """Call back when it has been reaped."""

        def over(end: End) -> None:
            self._status, self._peak_bytes = end.status, end.usage.ru_maxrss * 1024
            ended(end)

        self._child.watch(over)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started."""
        self._child.signal_group(number)

    async def why(self, said: bytes, /) -> NodeError | None:
        """Whether its spawner was lost, or the kernel took it because of a memory limit."""
        if self._child.is_orphan:
            return Unavailable("the process that watched over git has died: try again")
        return await self._inquests.hold(
            self._child.group,
            self._child.kills,
            status=self._status,
            said=said,
            peak_bytes=self._peak_bytes,
            repository=self._launch.placement or "",
            name=self._launch.name,
        )


class Request:
    """A caller of the spawner who waits for his child."""

    def __init__(self, launch: Launch, group: Group) -> None:
        self.launch = launch
        self.group = group
        self.ticket = Ticket(group.name, time.monotonic())
        self._loop = asyncio.get_running_loop()
        self._child: asyncio.Future[Descendant] = self._loop.create_future()

    async def child(self, patience_seconds: float) -> Descendant:
        """Wait for it. Raises TimeoutError, or what `fail` was told; a child that comes too late,
        or for a caller that was cancelled meanwhile, is killed."""
        patience = self._loop.call_later(patience_seconds, self.fail, TimeoutError())
        try:
            return await self._child
        except asyncio.CancelledError:
            self._give_up()
            raise
        finally:
            patience.cancel()

    def _give_up(self) -> None:
        if not self._child.cancel() and self._child.exception() is None:
            self._child.result().signal_group(signal.SIGKILL)

    def born(self, child: Descendant) -> None:
        """It lives."""
        if self._child.done():
            child.signal_group(signal.SIGKILL)
        else:
            self._child.set_result(child)

    def fail(self, error: Exception) -> None:
        """It will not."""
        if not self._child.done():
            self._child.set_exception(error)


class CgroupSpawner:
    """Starts what has a placement in its group, and everything else where the node is."""

    def __init__(
        self,
        groups: Groups,
        inquests: Inquests,
        metrics: SpawnMetrics,
        threads: Threads,
        *,
        most: int = MOST_SPAWNERS,
        patience_seconds: float = PATIENCE_SECONDS,
        open_files: int | None = None,
    ) -> None:
        self._groups = groups
        self._inquests = inquests
        self._metrics = metrics
        self._threads = threads
        self._open_files = open_files  # None: as the node itself
        self._outside: Spawner = PosixSpawner(open_files)
        self._homes = groups.hierarchy.homes
        self._patience_seconds = patience_seconds
        self._crew: Crew[SpawnerProcess] = Crew(
            most=most, places=QUEUE_PLACES, patience_seconds=patience_seconds
        )
        self._workers: dict[SpawnerProcess, Worker[SpawnerProcess]] = {}
        self._requests: dict[Ticket, Request] = {}
        self._ending: set[asyncio.Future[None]] = set()  # until their processes are gone
        self._cleaning: set[asyncio.Future[None]] = set()  # behind those that have died
        self._is_closed = False
        self._tidying: asyncio.TimerHandle | None = None
        metrics.watch(lambda: self._crew.waiting, lambda: len(self._workers))

    @property
    def pids(self) -> list[int]:
        """The spawner processes."""
        return self._pids()

    @property
    def waiting(self) -> int:
        """How many launches wait for a spawner."""
        return self._crew.waiting

    def _pids(self) -> list[int]:
        """For any thread."""
        return [process.pid for process in list(self._workers)]

    def start(self) -> None:
        """Have a spawner ready. Raises OSError if it cannot be started."""
        self._add_worker()

    async def aclose(self) -> None:
        """End the spawners, and with them what still runs. Waits until they are gone."""
        self._is_closed = True
        if self._tidying is not None:
            self._tidying.cancel()
        self._refuse_all(Unavailable("the node is stopping"))
        for worker in self._crew.workers:
            self._retire(worker)
        for future in [*self._ending, *self._cleaning]:
            await future

    async def spawn(self, launch: Launch) -> Born:
        """Start it. Raises OSError, Internal (no group), ResourceExhausted (queue), Unavailable."""
        if launch.placement is None:
            return await self._outside.spawn(launch)
        name = self._groups.name_for(launch.placement)
        group = self._groups.made.get(name) or await self._make(self._groups.ensure, name)
        for _ in range(ATTEMPTS):
            try:
                child = await self._start(launch, group)
            except GroupClosed as error:  # somebody has removed it
                group = await self._make(self._groups.repair, name)
                failure: NodeError = SetupFailed(group.path, error.number)
            except SpawnerLost:
                await self._threads.run(self._kill_orphans, [group.name])
                failure = Unavailable("git was not started: its spawner has died; try again")
            else:
                return CgroupChild(child, self._inquests, launch)
        raise failure

    def _kill_orphans(self, names: list[str]) -> None:
        for name in names:
            group = self._groups.made.get(name)
            if group is not None:
                kill_orphans(self._groups.hierarchy.directories(group.path)[0], self._pids)

    async def _make(self, make: Callable[[str], Group], name: str) -> Group:
        try:
            return await self._threads.run(make, name)
        except OSError as error:
            raise SetupFailed(error.filename or name, error.errno or 0) from error

    async def _start(self, launch: Launch, group: Group) -> Descendant:
        if self._is_closed:
            raise Unavailable("the node is stopping")
        request = Request(launch, group)
        self._requests[request.ticket] = request
        try:
            self._crew.enter(request.ticket)
            self._dispatch()
            return await request.child(self._patience_seconds)
        except (QueueFull, TimeoutError) as error:
            self._metrics.refused()
            raise ResourceExhausted(
                "git cannot be started: too many commands wait for their repository's cgroup",
                **{"cgroup.path": group.path},
            ) from error
        finally:
            self._crew.leave(request.ticket)
            del self._requests[request.ticket]

    def _dispatch(self) -> None:
        """Serve whom we can, and have somebody ready for the next."""
        while not self._is_closed:
            served = self._crew.next()
            if served is not None:
                self._serve(*served)
            elif not self._crew.needs_another():
                return
            else:
                try:
                    self._add_worker()
                except OSError as error:
                    if not self._workers:
                        self._refuse_all(OSError(error.errno, error.strerror))
                    return

    def _serve(self, ticket: Ticket, worker: Worker[SpawnerProcess]) -> None:
        request = self._requests[ticket]
        waited = time.monotonic() - ticket.since
        done = partial(self._birth_is_over, worker, request)
        worker.process.start(request.launch, request.group, done)
        self._metrics.waited(waited)

    def _birth_is_over(
        self,
        worker: Worker[SpawnerProcess],
        request: Request,
        born: Descendant | Exception,
    ) -> None:
        lives = isinstance(born, Descendant)
        if worker.process in self._workers:
            self._crew.born(worker, time.monotonic(), lives=lives)
        if isinstance(born, Exception):
            request.fail(born)
        else:
            request.born(born)
        self._dispatch()

    def _refuse_all(self, error: Exception) -> None:
        for request in self._requests.values():
            request.fail(error)

    def _add_worker(self) -> None:
        process = SpawnerProcess(
            self._homes, reaped=self._reaped, lost=self._lost, open_files=self._open_files
        )
        self._workers[process] = Worker(process)
        self._crew.add(self._workers[process])

    def _reaped(self, process: SpawnerProcess, child: Descendant) -> None:
        if process in self._workers:
            self._crew.died(self._workers[process], child.group.name, time.monotonic())
        self._inquests.note(child.group, child.kills[1])
        self._dispatch()
        if self._tidying is None and not self._is_closed:
            self._tidying = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._tidy)

    def _tidy(self) -> None:
        """End spawners that nobody has needed for a while."""
        self._tidying = None
        for worker in self._crew.surplus(time.monotonic() - IDLE_SECONDS / 2, SPARE_SPAWNERS):
            self._retire(worker)
        if len(self._workers) > SPARE_SPAWNERS:
            self._tidying = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._tidy)

    def _retire(self, worker: Worker[SpawnerProcess]) -> None:
        self._forget(worker.process)
        worker.process.close()

    def _lost(self, process: SpawnerProcess) -> None:
        if process in self._workers:
            self._metrics.lost()
            served = [*self._workers[process].children, self._workers[process].group]
            self._forget(process)
            cleaning = asyncio.ensure_future(self._threads.run(self._kill_orphans, served))
            self._cleaning.add(cleaning)
            cleaning.add_done_callback(self._cleaning.discard)

    def _forget(self, process: SpawnerProcess) -> None:
        self._crew.lose(self._workers.pop(process))
        if not process.gone.done():
            self._ending.add(process.gone)
            process.gone.add_done_callback(self._ending.discard)
