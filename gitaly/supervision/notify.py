"""What the node tells systemd of itself: ready, alive, stopping, and one line of status.

Datagrams of NAME=value lines to the socket that NOTIFY_SOCKET names; without it all this is silent.
Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, Self

SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG: Final = "WATCHDOG_USEC"
WATCHDOG_OWNER: Final = "WATCHDOG_PID"
PATIENCE_SECONDS: Final = 5  # for what must arrive, while systemd's queue is full
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Notifier:
    """Tells the service manager; errors are not ours to mend, and are ignored."""

    def __init__(
        self,
        address: str = "",
        watchdog_seconds: float | None = None,
        inheritance: Mapping[str, str] = NOTHING,
    ) -> None:
        """`address`: as NOTIFY_SOCKET has it; empty: nobody listens."""
        self.watchdog_seconds = watchdog_seconds  # None: nobody waits for signs of life
        self.inheritance = inheritance  # variables that a successor needs
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        if not address.startswith(("@", "/")):  # a kind of address from the future
            self._address = ""

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str], pid: int) -> Self:
        """The one that the environment describes, whose variables are removed from it: what the
        node starts is not to speak for it."""
        address = environment.pop(SOCKET, "")
        period = environment.pop(WATCHDOG, "")
        owner = environment.pop(WATCHDOG_OWNER, "")
        seconds = None
        if period.isdecimal() and int(period) and owner in ("", str(pid)):
            seconds = int(period) / 1e6
        inheritance = {SOCKET: address} if address else {}
        if seconds is not None:
            inheritance[WATCHDOG] = period  # whoever inherits it is meant
        return cls(address, seconds, inheritance)

    @property
    def is_heard(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Serving: after a start, a reload, or a take-over. Says also which process it is."""
        self._send(READY="1", MAINPID=str(os.getpid()), STATUS=status, must_arrive=True)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(STATUS=text)

    def alive(self, status: str) -> None:
        """A sign of life, with a status."""
        self._send(WATCHDOG="1", STATUS=status)

    def reloading(self, status: str) -> None:
        """The configuration is being read again; `ready` says when that is over."""
        now = str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        self._send(RELOADING="1", MONOTONIC_USEC=now, STATUS=status, must_arrive=True)

    def stopping(self, status: str) -> None:
        """No new calls are taken."""
        self._send(STOPPING="1", STATUS=status, must_arrive=True)

    def succeeded_by(self, pid: int) -> None:
        """Another process is the service from now on, and speaks for it; this one falls silent."""
        self._send(MAINPID=str(pid), must_arrive=True)
        self.fall_silent()

    def fall_silent(self) -> None:
        """Say nothing more."""
        self._address = ""

    def _send(self, *, must_arrive: bool = False, **fields: str) -> None:
        if not self._address:
            return
        lines = (f"{name}={' '.join(value.split())}" for name, value in fields.items())
        message = "\n".join(lines).encode(errors="replace")
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(PATIENCE_SECONDS if must_arrive else 0)
            sender.sendto(message, self._address)
