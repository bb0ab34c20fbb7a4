"""Entries and their files together: who is kept, who has to go, and when a file is removed."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from gitaly.observe.log import Logger
from gitaly.streamcache.entry import Entry, State
from gitaly.streamcache.index import Index, Policy
from gitaly.streamcache.kind import Kind
from gitaly.streamcache.metrics import CacheMetrics
from gitaly.streamcache.reader import Blocking
from gitaly.streamcache.store import Store

SWEEP_SECONDS: Final = 60.0
PLENTY_BYTES: Final = 256 << 20  # of the budget: more than many that write at once add unseen
QUIET_SECONDS: Final = 5.0  # without a reader; then a storm is over
Clock = Callable[[], float]  # monotonic seconds


class Shelf:
    """What is in the cache. Everything here is best effort: errors are logged, never raised,
    but where a caller needs the file."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        kind: Kind,
        blocking: Blocking,
        metrics: CacheMetrics,
        logger: Logger,
        clock: Clock = time.monotonic,
    ) -> None:
        self.policy = policy
        self.index = Index(policy)
        self._kind = kind
        self._store = store
        self._blocking = blocking
        self._metrics = metrics
        self._logger = logger
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._stubborn: list[Entry] = []  # files that could not be removed yet
        metrics.observe_store(
            store.directory,
            policy.max_age_seconds,
            lambda: len(self.index),
            lambda: self.index.total_bytes,
        )

    @property
    def directory(self) -> str:
        """Where the files are."""
        return self._store.directory

    async def open(self) -> None:
        """Begin to use the directory; without one, bytes go straight to their readers."""
        try:
            await self._blocking.run(self._store.open)
        except OSError as error:
            self._logger.error(
                f"{self._kind.cache}: its directory cannot be used", error=str(error)
            )
        self._spawn(self._keep_house())

    async def close(self) -> None:
        """Forget everything, and remove the files."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for entry in {*self.index.everything(), *self._stubborn}:
            self._speak(entry)
            await self._unlink(entry)
        await self._blocking.run(self._store.close)

    def adopt(self, policy: Policy, min_free_bytes: int) -> None:
        """Another policy from now on. What is too old or too much by it goes now, beginning with
        what was used longest ago; what somebody reads stays until it is read."""
        directory = self._store.directory
        self._metrics.show_age(directory, self.policy.max_age_seconds, policy.max_age_seconds)
        self.policy = policy
        self.index.adopt(policy)
        self._store.min_free_bytes = min_free_bytes
        self._spawn(self._make_room())

    async def _make_room(self) -> None:
        for entry in self.index.old(self._clock()):
            self.drop(entry)
        await self.has_room(0)

    def lookup(self, key: str, repository: str) -> tuple[Entry, bool]:
        """The entry for a key, and whether it is new."""
        entry, is_new = self.index.lookup(key, repository, self._clock())
        for former in self.index.take_replaced():
            self.settle(former)
        return entry, is_new

    async def create(self, entry: Entry) -> int:
        """A descriptor that writes to the entry's new file. Raises OSError."""

        def create() -> int:
            entry.path, descriptor = self._store.create()
            return descriptor

        try:
            return await self._descriptor(create)
        finally:
            if entry.path:  # also if we are cancelled: somebody must remove it
                self.index.stored(entry)

    async def open_file(self, entry: Entry) -> int:
        """A descriptor for a reader. Raises OSError; the entry is not found any more then."""
        try:
            if entry.state is State.COMPLETE:
                return await self._descriptor(partial(self._store.open_complete, entry))
            return await self._descriptor(partial(self._store.open_growing, entry.path))
        except OSError as error:
            self.mistrust(entry, str(error))
            raise

    async def _descriptor(self, opens: Callable[[], int]) -> int:
        """What `opens` opens; closed again if the caller is cancelled meanwhile."""
        opened: list[int] = []
        try:
            await self._blocking.run(lambda: opened.append(opens()))
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened[0]

    async def has_room(self, more: int) -> bool:
        """Whether files may grow by so many bytes, after others have gone for it."""
        while self.index.surplus(more) > 0:
            victim = next(self.index.victims(), None)
            if victim is None:
                return False
            await self._sacrifice(victim)
        return True

    def has_plenty(self) -> bool:
        """Whether the budget is so far away that nobody needs to look at each step."""
        return self.index.surplus(PLENTY_BYTES) <= 0

    async def has_space(self) -> bool:
        """Whether the file system has enough left, after others have gone for it. Raises OSError"""
        while not await self._blocking.run(self._store.has_space):
            victim = next(self.index.victims(), None)
            if victim is None:
                return False
            await self._sacrifice(victim)
        return True

    async def _sacrifice(self, victim: Entry) -> None:
        self._metrics.dropped.labels("room").inc()
        self.index.drop(victim)
        self._speak(victim)
        await self._unlink(victim)

    def mistrust(self, entry: Entry, why: str) -> None:
        """A file is not what it was, or cannot be read: nobody shall get it any more."""
        if not entry.is_dropped:
            self._metrics.dropped.labels("changed").inc()
            self._logger.warning(
                f"{self._kind.cache}: a file cannot be trusted",
                error=why,
                path=entry.path,
                **{self._kind.key_field: entry.key},
            )
        self.drop(entry)

    def drop(self, entry: Entry) -> None:
        """Nobody shall find this entry; its file goes with the last reader."""
        self.index.drop(entry)
        self.settle(entry)

    def settle(self, entry: Entry) -> None:
        """A reader has left, or nothing more is written: does the entry stay?"""
        if entry.readers or not entry.is_over:
            return
        if self.index.is_worth_keeping(entry, self._clock()):
            loop = asyncio.get_running_loop()
            loop.call_later(QUIET_SECONDS, self._speak_if_calm, entry, entry.requests)
            if self.index.surplus() > 0:  # the budget was lowered while somebody read
                self._spawn(self._make_room())
            return
        self.index.drop(entry)
        self._speak(entry)
        if entry.path:
            self._spawn(self._unlink(entry))

    async def _unlink(self, entry: Entry) -> None:
        if not entry.path:
            return
        path, entry.path = entry.path, ""
        try:
            await self._blocking.run(self._store.remove, path)
        except OSError as error:
            entry.path = path
            self._stubborn.append(entry)
            self._logger.warning(
                f"{self._kind.cache}: a file cannot be removed", error=str(error), path=path
            )
            return
        self.index.removed(entry)
        self._metrics.streams.removed.labels(self._store.directory).inc()

    async def _keep_house(self) -> None:
        while True:
            for entry in self.index.old(self._clock()):
                self.drop(entry)
            stubborn, self._stubborn = self._stubborn, []
            for entry in stubborn:
                await self._unlink(entry)
            try:
                removed = await self._blocking.run(
                    self._store.sweep, self.policy.max_age_seconds, time.time()
                )
            except OSError as error:
                self._logger.warning(
                    f"{self._kind.cache}: its directory cannot be swept", error=str(error)
                )
            else:
                self._metrics.streams.removed.labels(self._store.directory).inc(removed)
            await asyncio.sleep(max(0.1, min(self.policy.max_age_seconds, SWEEP_SECONDS)))

    def _speak_if_calm(self, entry: Entry, requests: int) -> None:
        if not entry.readers and entry.requests == requests:
            self._speak(entry)

    def _speak(self, entry: Entry) -> None:
        """One line for a storm, however many came: who joined, and what it saved."""
        kind = self._kind
        requests, entry.storm_requests = entry.storm_requests, 0
        saved, entry.storm_bytes = entry.storm_bytes, 0
        if not saved:
            return
        self._logger.info(
            f"{kind.cache}: one {kind.thing} for many",
            repository=entry.repository,
            requests=requests,
            saved_bytes=saved,
            **{f"{kind.thing}_bytes": entry.size, kind.key_field: entry.key},
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
