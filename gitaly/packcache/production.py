"""One git pack-objects, and the way of its pack: into a file that readers follow, or, where it
cannot be kept, straight to them. What the file already has is not lost when its disk is full."""

import asyncio
import errno
import os
from contextlib import AsyncExitStack, suppress
from typing import Final

from gitaly.errors import Cancelled, Internal, NodeError, ResourceExhausted, prefixed
from gitaly.git import PIPE, Child, Exit, Git, PipeReader, current_account, go_quoted
from gitaly.git.error_text import ErrorText
from gitaly.limits import LeftQueue, Refused
from gitaly.observe.log import Logger
from gitaly.packcache.entry import Entry, Position, State
from gitaly.packcache.metrics import CacheMetrics
from gitaly.packcache.pouring import Pouring
from gitaly.packcache.reader import Blocking, CacheTrouble, Limiter, PackRequest
from gitaly.packcache.shelf import Shelf
from gitaly.packcache.store import Changed, identity_of
from gitaly.packcache.trace import Trace
from gitaly.tasks import background

PREFIX: Final = "pack objects hook"
MOVE_BYTES: Final = 1 << 20
POUR_BYTES: Final = 8 << 20  # at most, until somebody looks again whether there is room
SPACE_CHECK_BYTES: Final = 16 << 20  # between looks at the free space
# With backpressure: how far git may be ahead of the fastest reader. Enough that a reader which
# reads never waits for git, and one that stalls stops it.
AHEAD_BYTES: Final = 8 << 20


class CannotKeep(Exception):
    """The pack cannot be kept; `reason` is a label of a metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PackFailed(Internal):
    """Git has ended badly, and has said why."""

    def __init__(self, stderr: bytes, ended: Exit) -> None:
        super().__init__(f"git-pack-objects: stderr: {go_quoted(stderr)} err: {ended}")


class Production:
    """Computes the pack of one entry."""

    def __init__(
        self,
        entry: Entry,
        request: PackRequest,
        *,
        git: Git,
        shelf: Shelf | None,  # None: nothing is kept
        limiter: Limiter,
        blocking: Blocking,
        metrics: CacheMetrics,
        trace_directory: str,
        logger: Logger,
    ) -> None:
        self._logger = logger
        self._trace_directory = trace_directory
        self._entry = entry
        self._request = request
        self._git = git
        self._shelf = shelf
        self._limiter = limiter
        self._blocking = blocking
        self._metrics = metrics
        self._error_text = ErrorText()

    async def run(self) -> None:
        """From the start to the end; how it ended is told to the entry, nothing is raised."""
        entry = self._entry
        try:
            with prefixed(PREFIX):
                await self._produce()
        except NodeError as error:
            # A refusal may concern one reader only, and git's own words are known to all.
            # After trouble of the cache, who has nothing yet tries again.
            if not isinstance(error, PackFailed | ResourceExhausted | CacheTrouble):
                entry.say(f"{error.message}\n".encode())
            self._failed(error)
        except asyncio.CancelledError:
            self._failed(Cancelled(f"{PREFIX}: all readers closed before writer finished"))
            raise
        except Exception as error:
            self._logger.exception("pack-objects cache: a bug", error=str(error))
            self._failed(Internal(f"{PREFIX}: internal error"))
        finally:
            self._metrics.generated.inc(entry.produced)
            if self._shelf is not None and entry.key:
                self._shelf.settle(entry)

    def _failed(self, error: NodeError) -> None:
        if self._shelf is not None:
            self._shelf.index.drop(self._entry)
        self._entry.fail(error)

    async def _produce(self) -> None:
        entry, request = self._entry, self._request
        async with AsyncExitStack() as stack:
            file = await self._file(stack)
            await self._take_slot(stack)
            trace = await self._trace(stack)
            command = request.command
            child = await stack.enter_async_context(
                self._git.run(
                    "pack-objects",
                    repository=request.repository,
                    global_flags=["--shallow-file", ""] if command.has_shallow_file else [],
                    flags=["--stdout", *command.flags],
                    env=trace.environment(current_account().correlation_id),
                    stdin=PIPE,
                    stderr=PIPE,
                )
            )
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.feed(request.stdin)
            child.stdout.enlarge()
            listening = await stack.enter_async_context(background(self._listen(child)))
            if file is not None:
                file = await self._fill(child.stdout, file)
            if file is None:
                await self._spill(child.stdout)
            ended = await child.wait()
            await listening
            if not ended:
                raise PackFailed(self._error_text.value(), ended)
            with suppress(OSError):
                entry.statistics = await self._blocking.run(trace.take)
            if file is None:
                entry.end()
            else:
                entry.complete(identity_of(file))

    async def _take_slot(self, stack: AsyncExitStack) -> None:
        request, account = self._request, current_account()
        slot = self._limiter.slot(request.remote_ip, has_username=request.has_username)
        try:
            turn = await stack.enter_async_context(slot)
        except (Refused, LeftQueue) as gone:
            account.fields.update(gone.turn.fields())
            raise
        if turn is not None:
            account.fields.update(turn.fields())

    async def _trace(self, stack: AsyncExitStack) -> Trace:
        trace = Trace(self._trace_directory)
        stack.callback(trace.remove)
        with suppress(OSError):  # then without
            await self._blocking.run(trace.make)
        return trace

    async def _file(self, stack: AsyncExitStack) -> int | None:
        """Where the pack shall be kept; None: it is not."""
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

    async def _listen(self, child: Child) -> None:
        """What git says, for the readers and for the log."""
        assert child.stderr is not None
        while piece := await child.stderr.read():
            self._error_text.feed(piece)
            self._entry.say(piece)

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
            raise CacheTrouble("the cached pack is damaged") from error
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
