"""What a child writes, in pieces of the size of a message."""

import asyncio
from collections.abc import AsyncGenerator

from gitaly.git.pipes import PipeReader
from gitaly.git.transfer import ENOUGH_BYTES, MESSAGE_BYTES, PAUSE_SECONDS


async def output_pieces(source: PipeReader) -> AsyncGenerator[bytes, None]:
    """Everything up to the end, at most MESSAGE_BYTES at once.

    Nothing is read ahead while the caller works, so a slow one stops the child. A child that
    writes little at a time gets a moment to write more: a message costs more than its bytes.
    """
    source.enlarge()
    while piece := await source.read(MESSAGE_BYTES):
        yield piece
        if len(piece) < ENOUGH_BYTES:
            await asyncio.sleep(PAUSE_SECONDS)
