"""What one git writes, given to all who want the same.

Identical requests that come together share one git, from the first one on; what it writes is kept
for those who come later, as far as the policy and the disk allow. No request fails because of the
cache: what cannot be kept is handed straight through.
"""

import asyncio
import errno
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Self

from gitaly.errors import Cancelled, ResourceExhausted
from gitaly.git import StoppedByLimit
from gitaly.observe.log import Logger
from gitaly.observe.snapshot import MOST_PRODUCTIONS, CacheState, ProductionState, bounded
from gitaly.streamcache.entry import Entry, Position, State
from gitaly.streamcache.index import Policy
from gitaly.streamcache.job import Job
from gitaly.streamcache.kind import Kind
from gitaly.streamcache.metrics import CacheMetrics, count_of
from gitaly.streamcache.production import Production
from gitaly.streamcache.reader import Blocking, CacheTrouble, Reader
from gitaly.streamcache.shelf import Shelf
from gitaly.streamcache.store import is_still
from gitaly.tasks import background

ATTEMPTS: Final = 3  # to get it, where the cache's trouble or another client's limit is why


@dataclass(slots=True, kw_only=True)
class Served:
    """What became of one request, for the log."""

    key: str = ""  # empty: not one that can be kept
    is_hit: bool = False
    is_joined: bool = False  # a hit on what git was still writing
    served_bytes: int = 0
    generated_bytes: int | None = None  # None: it did not generate
    said: bytes = b""  # by git, beside its output, if it generated
    unkept: str = ""  # why that was not kept
    fields: Mapping[str, int] = field(default_factory=dict)  # what git tells of its work
    position: Position | None = None  # while it is being served
    received_bytes: int = 0  # of the request

    @property
    def sent_bytes(self) -> int:
        """To the client, so far."""
        position = self.position
        moving = position.bytes + position.messages if position is not None else 0
        return self.served_bytes + moving


class StreamCache:
    """Serves requests, each of which has a key and a job."""

    def __init__(
        self,
        kind: Kind,
        *,
        shelf: Shelf | None,  # None: the cache is off, every request does its job
        blocking: Blocking,
        metrics: CacheMetrics,
        logger: Logger,
    ) -> None:
        self._kind = kind
        self._shelf = shelf
        self._blocking = blocking
        self._metrics = metrics
        self._logger = logger
        self._productions: dict[Entry, asyncio.Task[None]] = {}

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self._shelf is not None

    async def __aenter__(self) -> Self:
        if self._shelf is not None:
            await self._shelf.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._productions.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._shelf is not None:
            await self._shelf.close()

    def adopt(self, policy: Policy, min_free_bytes: int) -> None:
        """Keep things by another policy from now on; nothing, where the cache is off."""
        if self._shelf is not None:
            self._shelf.adopt(policy, min_free_bytes)

    def state(self) -> CacheState:
        """What it has and does, for any thread."""
        metrics, shelf = self._metrics, self._shelf
        productions = list(self._productions.copy())
        return CacheState(
            is_enabled=shelf is not None,
            directory=shelf.directory if shelf is not None else "",
            entries=len(shelf.index) if shelf is not None else 0,
            used_bytes=shelf.index.total_bytes if shelf is not None else 0,
            budget_bytes=shelf.policy.max_bytes if shelf is not None else 0,
            hits=count_of(metrics.hits),
            misses=count_of(metrics.misses),
            joined=count_of(metrics.joined),
            productions=tuple(
                ProductionState(
                    repository=bounded(entry.repository),
                    state=entry.state.value,
                    produced_bytes=entry.produced,
                    readers=len(entry.readers),
                )
                for entry in productions[:MOST_PRODUCTIONS]
            ),
            productions_total=len(productions),
        )

    async def serve(
        self,
        key: str | None,
        make_job: Callable[[], Job],
        repository: str,
        reader: Reader,
        served: Served,
    ) -> None:
        """Give a reader what it wants; `served` tells about it also if this fails.

        `key`: equal for those who want the same; None: it must be made anew each time. `make_job`
        is called when git must run, `repository` is for the log. Raises Cancelled if the reader is
        gone, StoppedByLimit if the kernel stopped git for want of memory, and what the job raises.
        """
        served.key = key or ""
        for attempt in range(1, ATTEMPTS + 1):
            entry, is_new = self._entry(key if attempt < ATTEMPTS else None, repository)
            position = served.position = entry.join(reader, is_owner=is_new)
            if is_new:
                self._start(entry, make_job())
            served.is_hit = not is_new
            served.is_joined = not is_new and entry.state is State.FILLING
            try:
                await self._follow(position, served)
                break
            except (CacheTrouble, ResourceExhausted) as error:
                # Somebody else's limit, or the cache: neither is this reader's fault.
                # But a memory limit stops whoever wants this.
                is_own = is_new and isinstance(error, ResourceExhausted)
                is_own = is_own or isinstance(error, StoppedByLimit)
                if position.bytes or position.messages or is_own or attempt == ATTEMPTS:
                    raise
            finally:
                self._leave(position, served)
        (self._metrics.hits if served.is_hit else self._metrics.misses).inc()
        if served.is_joined:
            self._metrics.joined.inc()

    def _entry(self, key: str | None, repository: str) -> tuple[Entry, bool]:
        if self._shelf is None or key is None:
            return Entry.own(repository), True
        return self._shelf.lookup(key, repository)

    def _start(self, entry: Entry, job: Job) -> None:
        production = Production(
            entry,
            job,
            kind=self._kind,
            shelf=self._shelf,
            blocking=self._blocking,
            metrics=self._metrics,
            logger=self._logger,
        )
        task = asyncio.get_running_loop().create_task(production.run())
        self._productions[entry] = task
        task.add_done_callback(lambda _: self._productions.pop(entry, None))

    def _leave(self, position: Position, served: Served) -> None:
        entry, served.position = position.entry, None
        served.served_bytes += position.bytes + position.messages
        self._metrics.served.inc(position.bytes + position.messages)
        if not position.is_owner:
            entry.storm_bytes += position.bytes
            self._metrics.saved.inc(position.bytes)
        entry.leave(position)
        running = self._productions.get(entry)
        if entry.readers:
            return
        if running is not None and entry.state not in (State.COMPLETE, State.ENDED):
            if self._shelf is not None:
                self._shelf.index.drop(entry)  # nobody may join what is about to fail
            running.cancel()
        elif self._shelf is not None and entry.key:
            self._shelf.settle(entry)

    async def _follow(self, position: Position, served: Served) -> None:
        """Hand on what there is, as it comes, to the end."""
        entry, reader = position.entry, position.reader
        async with AsyncExitStack() as stack:
            waiting = _Waiting(entry, reader, self._kind, stack)
            copying = _Copying(self._shelf, self._kind, self._metrics, position, stack)
            while True:
                if position.messages < len(entry.messages):
                    text = bytes(entry.messages[position.messages :])
                    position.messages += len(text)
                    await reader.write_stderr(text)
                elif position.is_lost:
                    raise Cancelled(self._kind.error("the reader is gone"))
                elif entry.error is not None:
                    raise entry.error.with_traceback(None)
                elif position.bytes < entry.size:
                    await copying.go_on()
                elif entry.is_over:
                    break
                else:
                    await waiting.for_change()
            copying.check()
            if position.is_owner:
                self._describe(entry, served)

    def _describe(self, entry: Entry, served: Served) -> None:
        served.generated_bytes = entry.produced + len(entry.messages)
        served.said = bytes(entry.messages)
        served.unkept = entry.unkept
        served.fields = entry.statistics


class Cache:
    """What serves requests of one kind is built on this: it lives as long as its streams do."""

    def __init__(self, streams: StreamCache) -> None:
        self._streams = streams

    async def __aenter__(self) -> Self:
        await self._streams.__aenter__()
        return self

    async def __aexit__(self, *how: object) -> None:
        await self._streams.__aexit__(*how)

    def adopt(self, policy: Policy, min_free_bytes: int) -> None:
        """Keep things by another policy from now on; nothing, where the cache is off."""
        self._streams.adopt(policy, min_free_bytes)

    def state(self) -> CacheState:
        """What it has and does, for any thread."""
        return self._streams.state()


class _Waiting:
    """Waits for news of an entry, or for the end of its reader."""

    def __init__(self, entry: Entry, reader: Reader, kind: Kind, stack: AsyncExitStack) -> None:
        self._kind = kind
        self._entry = entry
        self._reader = reader
        self._stack = stack
        self._gone: asyncio.Future[Any] | None = None

    async def for_change(self) -> None:
        """Raises Cancelled if the reader is gone."""
        change = self._entry.changed()
        gone = self._gone or await self._watch()
        try:
            await asyncio.wait([change, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._entry.forget(change)
        if gone.done():
            raise Cancelled(self._kind.error("the reader is gone"))

    async def _watch(self) -> asyncio.Future[Any]:
        watching: asyncio.Future[Any] = await self._stack.enter_async_context(
            background(self._reader.gone.wait())
        )
        self._gone = watching
        return watching


class _Copying:
    """Lets a reader copy from the file of its entry."""

    def __init__(
        self,
        shelf: Shelf | None,
        kind: Kind,
        metrics: CacheMetrics,
        position: Position,
        stack: AsyncExitStack,
    ) -> None:
        self._shelf = shelf
        self._kind = kind
        self._metrics = metrics
        self._position = position
        self._stack = stack
        self._file = -1

    async def go_on(self) -> None:
        """Copy what there is. Raises Cancelled, CacheTrouble."""
        position, entry = self._position, self._position.entry
        if self._file < 0:
            await self._open()
        end = entry.size
        report = await position.reader.copy(position.bytes, end)
        self._metrics.count_copied(report.moved)
        whole = position.bytes + report.moved == end
        entry.advance(position, report.moved)
        if report.error == errno.EPIPE:
            raise Cancelled(self._kind.error("the reader is gone"))
        if not whole:
            self._distrust(os.strerror(report.error) if report.error else "it is too short")

    async def _open(self) -> None:
        assert self._shelf is not None
        try:
            self._file = await self._shelf.open_file(self._position.entry)
        except OSError as error:
            text = self._kind.error(f"the cached {self._kind.thing} cannot be opened")
            raise CacheTrouble(text) from error
        self._stack.callback(os.close, self._file)
        await self._position.reader.use_file(self._file)

    def check(self) -> None:
        """At the end: nobody has touched the file meanwhile. Raises CacheTrouble."""
        identity = self._position.entry.identity
        if self._file >= 0 and identity is not None and not is_still(self._file, identity):
            self._distrust("it was changed while it was read")

    def _distrust(self, why: str) -> None:
        assert self._shelf is not None
        entry = self._position.entry
        self._shelf.mistrust(entry, why)
        error = CacheTrouble(self._kind.error(f"the cached {self._kind.thing} is damaged"))
        if not entry.is_over:
            entry.fail(error)
        raise error
