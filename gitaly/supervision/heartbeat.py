"""Signs of life for systemd's watchdog, given only while the node really answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from gitaly.observe.log import Logger
from gitaly.supervision.notify import Notifier

STATUS_SECONDS: Final = 10  # between two lines of status, where there is no watchdog


async def beat(
    notifier: Notifier,
    answers: Callable[[], Awaitable[bool]],  # whether the node serves a call
    status: Callable[[], str],
    logger: Logger,
) -> None:
    """For ever: two signs in each period of the watchdog, from this very event loop.

    A loop that hangs gives none; nor does one whose calls are not answered. Then systemd kills
    the node and starts another.
    """
    if not notifier.is_heard:
        return
    period = (notifier.watchdog_seconds or 2 * STATUS_SECONDS) / 2
    while True:
        started = time.monotonic()
        if notifier.watchdog_seconds is None:
            notifier.status(status())
        elif await _in_time(answers, period):
            notifier.alive(status())
        else:
            logger.error(
                "no sign of life for systemd's watchdog: the node does not answer itself",
                waited_seconds=round(time.monotonic() - started, 3),
                watchdog_seconds=notifier.watchdog_seconds,
            )
        await asyncio.sleep(max(0, started + period - time.monotonic()))


async def _in_time(answers: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await answers()
    except TimeoutError:
        return False
