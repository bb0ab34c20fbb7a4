"""Accepts on a listening socket, whenever somebody comes and the process has a descriptor left."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

ACCEPTS_PER_WAKE: Final = 32
REST_SECONDS: Final = 0.2  # when nothing can be accepted


class Accepting:
    """From its making on, until `close`; the socket is its own."""

    def __init__(
        self,
        listening: socket.socket,
        on_accept: Callable[[socket.socket, Any], None],  # with the address, as the family has it
        on_error: Callable[[OSError], None],
    ) -> None:
        """`on_error`: nothing could be accepted, usually for want of descriptors."""
        listening.setblocking(False)
        self.socket = listening
        self._on_accept = on_accept
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._is_paused = False
        self._loop.add_reader(listening.fileno(), self._accept)

    def pause(self) -> None:
        """Accept nobody for the moment: who comes waits in the kernel's queue."""
        self._is_paused = True
        self._loop.remove_reader(self.socket.fileno())

    def resume(self) -> None:
        """Accept again, those first who have waited."""
        self._is_paused = False
        self._go_on()

    def close(self) -> None:
        """Accept nothing more; what is accepted goes on."""
        self._is_closed = True
        self._loop.remove_reader(self.socket.fileno())
        self.socket.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_WAKE):
            if self._is_closed or self._is_paused:
                return
            try:
                accepted, address = self.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # to be woken for it again and again helps nobody
                self._on_error(error)
                self._loop.remove_reader(self.socket.fileno())
                self._loop.call_later(REST_SECONDS, self._go_on)
                return
            accepted.setblocking(False)
            self._on_accept(accepted, address)

    def _go_on(self) -> None:
        if not self._is_closed and not self._is_paused:
            self._loop.add_reader(self.socket.fileno(), self._accept)
