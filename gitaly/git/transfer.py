"""Moves bytes between git and whoever asked for them, and stops git when they are slow."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Protocol

from gitaly.errors import NodeError, entered
from gitaly.git.error_text import ErrorText
from gitaly.git.pipes import PipeReader, PipeWriter
from gitaly.git.process import Child
from gitaly.tasks import background
from gitaly.transport import sideband

PIECE_BYTES: Final = 256 * 1024
ENOUGH_BYTES: Final = 128 * 1024
BURST_BYTES: Final = 1 << 20  # until others have a turn, where the sink does not make us wait
BULK_BYTES: Final = 1 << 20  # after so much there is likely to be much more
FEW_BYTES: Final = 8 * 1024  # of what git says beside its output
PAUSE_SECONDS: Final = 0.001
BULK_PAUSE_SECONDS: Final = 0.0015
MESSAGE_BYTES: Final = 128 * 1024  # of bulk data in one gRPC message
Buffers = Sequence[bytes | memoryview]
Observer = Callable[[memoryview], None]


class Sink(Protocol):
    """Where git's output goes."""

    async def room(self, at_least: int = 1) -> int:
        """How many bytes are taken now; waits for it. Raises ConnectionError."""
        ...

    def write(self, buffers: Buffers) -> None:
        """Send; the buffers may change once this returns. Raises ConnectionError."""


def _nothing() -> None:
    pass


async def pump(source: PipeReader, sink: Sink, in_bulk: Callable[[], None] = _nothing) -> int:
    """Move everything, uncopied and unframed; the number of bytes. Raises ConnectionError.

    `in_bulk` is called once, if there turns out to be much.
    """
    return await _pump(source, sink, 1, lambda room: room, lambda piece: [piece], in_bulk=in_bulk)


async def pump_band(
    source: PipeReader,
    sink: Sink,
    band: int,
    keep: ErrorText | None = None,
    piece_bytes: int = PIECE_BYTES,
    in_bulk: Callable[[], None] = _nothing,
) -> int:
    """Move everything as packets of a side-band; the number of bytes, without packets' headers.

    `keep` remembers a beginning; `piece_bytes` are read at once at most; `in_bulk` is called once,
    if there turns out to be much. Raises ConnectionError.
    """

    def framed(piece: memoryview) -> Buffers:
        if keep is not None:
            keep.feed(bytes(piece))
        return sideband.frames(band, piece)

    least = sideband.HEADER_SIZE + 1
    return await _pump(source, sink, least, _room_in_packets, framed, piece_bytes, in_bulk)


def _room_in_packets(room: int) -> int:
    """How much data fit into so many bytes of packets."""
    packets = -(-room // (sideband.MAX_DATA + sideband.HEADER_SIZE))
    return room - packets * sideband.HEADER_SIZE


async def _pump(
    source: PipeReader,
    sink: Sink,
    least: int,
    usable: Callable[[int], int],
    framed: Callable[[memoryview], Buffers],
    piece_bytes: int = PIECE_BYTES,
    in_bulk: Callable[[], None] = _nothing,
) -> int:
    """Read what is there, as far as the sink takes it: never wait to fill a buffer."""
    buffer = memoryview(bytearray(piece_bytes))
    moved, burst, pause = 0, 0, PAUSE_SECONDS
    while True:
        room = usable(min(await sink.room(least), piece_bytes))
        try:
            size = os.readv(source.fd, [buffer[:room]])
        except BlockingIOError:
            await source.readable()
            continue
        if not size:
            return moved
        sink.write(framed(buffer[:size]))
        moved += size
        if moved >= BULK_BYTES and pause != BULK_PAUSE_SECONDS:
            pause = BULK_PAUSE_SECONDS
            in_bulk()
        # Git writes some KiB at a time, and to wake up for each would cost more than the bytes.
        burst += size
        is_drained = size < room and size < ENOUGH_BYTES
        if is_drained or burst >= BURST_BYTES:
            burst = 0
            await asyncio.sleep(pause if is_drained else 0)


def started(
    run: AbstractAsyncContextManager[Child], words: str, kind: type[NodeError]
) -> AbstractAsyncContextManager[Child]:
    """`run`, whose failure to start becomes a `kind` with `words` in front of the reason."""
    return entered(run, lambda error: kind(f"{words}: {error.message}", **error.metadata))


async def feed(
    pieces: AsyncIterator[memoryview] | AsyncIterator[bytes],
    stdin: PipeWriter,
    observers: Sequence[Observer] = (),
) -> None:
    """Write to git what comes, showing it to the observers first, and close at the end.

    A git that reads no more has its reasons; its exit tells them. What the source raises is
    raised, after git's input has been closed: git then sees a client that hung up.
    """
    try:
        async for piece in pieces:
            view = memoryview(piece)
            for observe in observers:
                observe(view)
            try:
                await stdin.write(view)
            except (BrokenPipeError, ValueError):
                return  # ValueError: git is being stopped and our end is closed
    finally:
        stdin.close()
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


async def merged(child: Child) -> AsyncGenerator[tuple[int, bytes], None]:
    """What git writes, as (band, piece) in the order in which it comes, up to the end of both.

    Nothing is read ahead while the caller works, but one piece of each. The child's `error_text`
    remembers the beginning of stderr. Close it when you leave it early (`aclosing`): else it goes
    on reading from pipes that somebody else may want to empty.
    """
    pieces: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(maxsize=1)

    async def read(source: PipeReader, band: int) -> None:
        with suppress(ValueError):  # closed under our hands: git is being stopped
            while piece := await source.read(MESSAGE_BYTES):
                if band == sideband.STDERR:
                    child.heard.feed(piece)
                await pieces.put((band, piece))
        await pieces.put((band, b""))

    assert child.stdout is not None
    assert child.stderr is not None
    async with (
        background(read(child.stdout, sideband.STDOUT)),
        background(read(child.stderr, sideband.STDERR)),
    ):
        open_sources = 2
        while open_sources:
            band, piece = await pieces.get()
            if piece:
                yield band, piece
            else:
                open_sources -= 1


@asynccontextmanager
async def feeding(
    child: Child,
    pieces: AsyncIterator[memoryview] | AsyncIterator[bytes],
    observers: Sequence[Observer] = (),
) -> AsyncIterator[None]:
    """Feed git beside the block, which ends when git does: git may not read to the end.

    A client that breaks off is not an error here: git sees the end of its input, and says what
    that means.
    """

    async def run() -> None:
        assert child.stdin is not None
        child.stdin.enlarge()
        with suppress(ConnectionError, NodeError):
            await feed(pieces, child.stdin, observers)

    async with background(run()):
        yield
