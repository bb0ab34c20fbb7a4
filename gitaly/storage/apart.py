"""Questions to file systems that may never answer."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def on_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Run it on a thread that neither the loop nor the interpreter waits for at their end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(settle: Callable[[], None]) -> None:
        if not future.done():
            settle()

    def work() -> None:
        try:
            settle = partial(future.set_result, function())
        except Exception as error:
            settle = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, settle)

    threading.Thread(target=work, name="storage-apart", daemon=True).start()
    return future
