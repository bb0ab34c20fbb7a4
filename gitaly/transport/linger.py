"""Ends a connection without taking from the peer what it has not fetched yet.

A socket that is closed while bytes of the peer wait in it unread is reset by the kernel, and what
we have said and the peer's kernel has not confirmed is thrown away: the tail of a clone, say.
"""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Final

LINGER_SECONDS: Final = 30  # without any progress
TICK_SECONDS: Final = 0.1


class Linger:
    """Calls `end` once the peer has taken everything, or takes nothing any more."""

    def __init__(self, fd: int, backlog: Callable[[], int], end: Callable[[], None]) -> None:
        self._fd = fd
        self._backlog = backlog  # bytes that the kernel does not have yet
        self._end = end
        self._left: int | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Look, and look again until it is over."""
        loop = asyncio.get_running_loop()
        left = self._backlog() + unconfirmed(self._fd)
        if self._left is None or left < self._left:
            self._left = left
            self._deadline = loop.time() + LINGER_SECONDS
        if not left or loop.time() >= self._deadline:
            self._end()
        else:
            self._timer = loop.call_later(TICK_SECONDS, self.check)

    def cancel(self) -> None:
        """The connection has ended otherwise."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def unconfirmed(fd: int) -> int:
    """Bytes that the kernel has and the peer's has not. Source: tcp(7), unix(7), SIOCOUTQ."""
    answer = fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4))
    (count,) = struct.unpack("i", answer)
    return int(count)
