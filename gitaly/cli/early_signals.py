"""Signals that come before the program knows what to do about them; they would end it."""

import signal
from typing import Final

EARLY: Final = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})


def hold() -> None:
    """Keep them for later. What is started meanwhile inherits that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, EARLY)


def release() -> None:
    """Let those come that were kept; there are handlers for all of them now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY)
