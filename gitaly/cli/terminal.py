"""A terminal as a screen: single keys in, whole pictures out; afterwards as it was before."""

import os
import select
import shutil
import signal
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

ENTER: Final = "\x1b[?1049h\x1b[?25l"  # another screen, no cursor. Source: xterm, ctlseqs
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"
BOLD: Final = "\x1b[7m"
PLAIN: Final = "\x1b[0m"


class Terminal:
    """The terminal of standard input and output, for the length of the block."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._former: list[Any] = []  # termios' own type
        self._handlers: dict[int, Any] = {}
        self._wake_read = self._wake_write = -1

    def __enter__(self) -> Self:
        self._former = termios.tcgetattr(self._input)
        changed = termios.tcgetattr(self._input)
        changed[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self._handlers = {
            signal.SIGWINCH: signal.signal(signal.SIGWINCH, self._resized),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _end),
        }
        termios.tcsetattr(self._input, termios.TCSANOW, changed)
        self._write(ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError, termios.error):  # the terminal itself may be gone
            self._write(LEAVE)
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._former)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = shutil.get_terminal_size()
        with suppress(OSError):
            found = os.get_terminal_size(sys.stdout.fileno())  # the variables may be old
        return found.columns, found.lines

    def wake(self) -> None:
        """Let `keys` come back; for any thread."""
        with suppress(OSError):
            os.write(self._wake_write, b"\0")

    def keys(self, seconds: float) -> str | None:
        """What was typed; empty: nothing, or the picture is to be drawn anew. None: no terminal
        is left to type at."""
        ready, _, _ = select.select([self._input, self._wake_read], [], [], seconds)
        if self._wake_read in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        if self._input not in ready:
            return ""
        try:
            typed = os.read(self._input, 1024)
        except OSError:
            return None
        return typed.decode(errors="replace") or None

    def draw(self, lines: Sequence[str], marked: int) -> None:
        """Show these lines, and one of them inverted. They must fit."""
        painted = (
            f"{BOLD}{line}{PLAIN}" if number == marked else line
            for number, line in enumerate(lines)
        )
        self._write(HOME + f"{REST_OF_LINE}\n".join(painted) + REST_OF_LINE + REST_OF_SCREEN)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _resized(self, _: int, __: FrameType | None) -> None:
        self.wake()


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, and it is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _end(_: int, __: FrameType | None) -> NoReturn:
    sys.exit(0)
