"""Tasks that live no longer than the block that started them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def background(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run something beside the block and cancel it at the block's end, if it still runs.

    Its error is the block's business: whoever awaits the task gets it, and nobody else. (A
    TaskGroup would wrap every error of the block itself into a group.)
    """
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: asyncio need not complain that nobody looked
