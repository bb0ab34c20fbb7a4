"""Questions to file systems that may never answer, on threads that nobody waits for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[], None]


def on_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Run it on a thread of its own, for which neither the loop nor the interpreter waits at
    their end."""
    future, work = _prepared(function)
    threading.Thread(target=work, name="storage-apart", daemon=True).start()
    return future


class LoneThread:
    """The same for questions one after the other: 30 µs each, of which a new thread takes 100."""

    def __init__(self) -> None:
        self._orders: SimpleQueue[Work | None] = SimpleQueue()
        self._has_begun = False

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Whoever asks while another question has no answer waits behind it."""
        if not self._has_begun:
            self._has_begun = True
            threading.Thread(target=self._obey, name="storage-apart", daemon=True).start()
        future, work = _prepared(function)
        self._orders.put(work)
        return future

    def close(self) -> None:
        """The thread ends, as soon as it can; nothing may be asked any more."""
        self._orders.put(None)

    def _obey(self) -> None:
        while (work := self._orders.get()) is not None:
            work()


def _prepared(function: Callable[[], T]) -> tuple[asyncio.Future[T], Work]:
    """A future of this loop, and what settles it from another thread."""
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

    return future, work
