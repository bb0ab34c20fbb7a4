"""One git, and the way of what it writes: into a file that readers follow, or, where it cannot be
kept, straight to them. What the file already has is not lost when its disk is full."""

import asyncio
import errno
import os
from contextlib import AsyncExitStack
from typing import Final

from gitaly.errors import Cancelled, Internal, NodeError
from gitaly.git import PipeReader
from gitaly.observe.log import Logger
from gitaly.streamcache.entry import Entry, Position, State
from gitaly.streamcache.job import Job
from gitaly.streamcache.kind import Kind
from gitaly.streamcache.metrics import CacheMetrics
from gitaly.streamcache.pouring import Pouring
from gitaly.streamcache.reader import Blocking, CacheTrouble
from gitaly.streamcache.shelf import Shelf
from gitaly.streamcache.store import Changed, identity_of

MOVE_BYTES: Final = 1 << 20
POUR_BYTES: Final = 8 << 20  # at most, until somebody looks again whether there is room
SPACE_CHECK_BYTES: Final = 16 << 20  # between looks at the free space
# With backpressure: how far git may be ahead of the fastest reader. Enough that a reader which
# reads never waits for git, and one that stalls stops it.
AHEAD_BYTES: Final = 8 << 20


class CannotKeep(Exception):
    """It cannot be kept; `reason` is a label of a metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Production:
    """Makes the bytes of one entry."""

    def __init__(
        self,
        entry: Entry,
        job: Job,
        *,
        kind: Kind,
        shelf: Shelf | None,  # None: nothing is kept
        blocking: Blocking,
        metrics: CacheMetrics,
        logger: Logger,
    ) -> None:
        self._entry = entry
        self._job = job
        self._kind = kind
        self._shelf = shelf
        self._blocking = blocking
        self._metrics = metrics
        self._logger = logger

    async def run(self) -> None:
        """From the start to the end; how it ended is told to the entry, nothing is raised."""
        entry, kind = self._entry, self._kind
        try:
            with kind.errors():
                await self._produce()
        except NodeError as error:
            # After trouble of the cache, who has nothing yet tries again.
            if not isinstance(error, CacheTrouble):
                entry.say(self._job.explained(error))
            self._failed(error)
        except asyncio.CancelledError:
            self._failed(Cancelled(kind.error("all readers closed before writer finished")))
            raise
        except Exception as error:
            self._logger.exception(f"{kind.cache}: a bug", error=str(error))
            self._failed(Internal(kind.error("internal error")))
        finally:
            self._metrics.generated.inc(entry.produced)
            if self._shelf is not None and entry.key:
                self._shelf.settle(entry)

    def _failed(self, error: NodeError) -> None:
        if self._shelf is not None:
            self._shelf.index.drop(self._entry)
        self._entry.fail(error)

    async def _produce(self) -> None:
        entry = self._entry
        async with AsyncExitStack() as stack:
            file = await self._file(stack)
            work = await stack.enter_async_context(self._job.running(entry, self._doubt))
            if file is not None:
                file = await self._fill(work.source, file)
            if file is None:
                await self._spill(work.source)
            entry.statistics = await work.finish()
            if file is None:
                entry.end()
            else:
                entry.complete(identity_of(file))

    def _doubt(self) -> None:
        """Those who have it go on; nobody else finds it."""
        if not self._entry.is_dropped:
            assert self._shelf is not None
            self._shelf.index.drop(self._entry)
            self._give_up("doubtful")

    async def _file(self, stack: AsyncExitStack) -> int | None:
        """Where it shall be kept; None: it is not."""
        if self._entry.state is State.SPILLING:
            self._give_up("off" if self._shelf is None else "unrepeatable")
            return None
        assert self._shelf is not None
        try:
            await self._check_space()
            file = await self._shelf.create(self._entry)
        except (OSError, CannotKeep) as error:
            self._cannot_keep(error)
            return None
        stack.callback(os.close, file)
        return file

    def _cannot_keep(self, error: OSError | CannotKeep) -> None:
        reason = error.reason if isinstance(error, CannotKeep) else _reason_of(error)
        self._give_up(reason)
        if self._entry.state is State.FILLING:
            assert self._shelf is not None
            self._shelf.index.drop(self._entry)
            self._entry.spill()

    def _give_up(self, reason: str) -> None:
        self._entry.unkept = reason
        self._metrics.unkept.labels(reason).inc()

    async def _fill(self, source: PipeReader, file: int) -> int | None:
        """Move everything into the file; None: not everything, the rest is still in the pipe."""
        checked = SPACE_CHECK_BYTES
        pouring = Pouring(source.fd, file)
        try:
            while True:
                await self._let_readers_follow()
                if pouring.at >= checked:
                    await self._check_space()
                    checked = pouring.at + SPACE_CHECK_BYTES
                await self._pour(pouring, pouring.at + await self._room())
                if pouring.is_over:
                    pouring.check()
                    return file
                if pouring.is_dry:
                    await source.readable()
        except Changed as error:
            assert self._shelf is not None
            self._shelf.mistrust(self._entry, str(error))
            raise CacheTrouble(f"the cached {self._kind.thing} is damaged") from error
        except (OSError, CannotKeep) as error:
            self._cannot_keep(error)
            return None

    async def _pour(self, pouring: Pouring, end: int) -> None:
        assert self._shelf is not None
        try:
            await self._blocking.run(pouring.run, end)
        finally:
            self._shelf.index.grow(self._entry, pouring.at - self._entry.size)

    async def _room(self) -> int:
        """By how many bytes the file may grow now. Raises CannotKeep."""
        entry, shelf = self._entry, self._shelf
        assert shelf is not None
        if not await shelf.has_room(MOVE_BYTES):
            raise CannotKeep("room")
        if not shelf.has_plenty():
            return MOVE_BYTES
        if not shelf.policy.backpressure or not entry.readers:
            return POUR_BYTES
        return max(MOVE_BYTES, AHEAD_BYTES - (entry.size - entry.fastest))

    async def _check_space(self) -> None:
        assert self._shelf is not None
        if not await self._shelf.has_space():
            raise CannotKeep("room")

    async def _let_readers_follow(self) -> None:
        """With backpressure: wait until the fastest reader has nearly everything."""
        entry = self._entry
        assert self._shelf is not None
        while (
            self._shelf.policy.backpressure
            and entry.readers
            and entry.size - entry.fastest >= AHEAD_BYTES
        ):
            await entry.changed()

    async def _spill(self, source: PipeReader) -> None:
        """Move the rest to those who read, as fast as the slowest of them."""
        while True:
            readers = await self._readers_at_the_edge()
            if len(readers) == 1:
                moved = await self._hand_alone(readers[0], source)
                if moved is None:
                    continue
            else:
                piece = await source.read(MOVE_BYTES)
                moved = len(piece)
                if piece:
                    async with asyncio.TaskGroup() as group:
                        for position in readers:
                            group.create_task(self._hand(position, piece))
            if not moved:
                return
            self._entry.produced += moved

    async def _readers_at_the_edge(self) -> list[Position]:
        """All readers, once each of them has what the file has."""
        entry = self._entry
        while entry.readers and any(x.bytes < entry.size for x in entry.readers):
            await entry.changed()
        while not entry.readers:  # nobody is left: we are about to be cancelled
            await entry.changed()
        return list(entry.readers)

    async def _hand_alone(self, position: Position, source: PipeReader) -> int | None:
        """Straight from the pipe; None: the reader is gone, and the bytes are not."""
        try:
            moved = await position.reader.take(source)
        except Cancelled:
            self._lose(position)
            return None
        position.bytes += moved
        return moved

    async def _hand(self, position: Position, piece: bytes) -> None:
        try:
            report = await position.reader.write_stdout(piece)
        except Cancelled:
            self._lose(position)
            return
        position.bytes += report.moved
        if report.error:
            self._lose(position)

    def _lose(self, position: Position) -> None:
        position.is_lost = True
        self._entry.notify()
        self._entry.leave(position)


def _reason_of(error: OSError) -> str:
    return "room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "error"
