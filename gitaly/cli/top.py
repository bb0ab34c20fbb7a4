"""`gitaly top`: the calls in flight, live on a terminal, once everywhere else."""

import os
import sys
import threading
from collections.abc import Sequence
from typing import Final

from gitaly.cli.nodes import CannotLook, Process, processes_of
from gitaly.cli.status import NOBODY, NOT_ASKED, NOT_RUNNING
from gitaly.cli.terminal import Terminal
from gitaly.cli.top_screen import BY_HEADING, BY_KEY, Column, screen
from gitaly.config import Config, load
from gitaly.errors import NodeError

QUIT: Final = frozenset("q\x03")  # and Ctrl-C
ESCAPE: Final = "\x1b"  # alone; else it begins the name of a key that means nothing here
LEAST_SECONDS: Final = 0.25


def show_top(path: str, *, once: bool, interval_seconds: float, sort: str) -> int:
    """The exit code: 0; where nothing can be shown at all, as that of `gitaly status`."""
    column = BY_HEADING.get(sort.lower())
    if column is None:
        print(f"--sort {sort}: choose one of {', '.join(BY_HEADING)}", file=sys.stderr)
        return 2
    try:
        config = load(path)
        if once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            return _print(processes_of(config), column)
        with Terminal() as terminal:
            _Top(config, terminal, max(LEAST_SECONDS, interval_seconds), column).run()
    except CannotLook as error:
        print(error, file=sys.stderr)
        return NOT_ASKED
    except NodeError as error:
        print(f'config_path "{path}": {error}', file=sys.stderr)
        return NOT_ASKED
    except BrokenPipeError:  # piped into head, say; the flush at the end must not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _print(processes: Sequence[Process], column: Column) -> int:
    if not processes:
        print(NOBODY, file=sys.stderr)
        return NOT_RUNNING
    for line in screen(processes, (), column):
        print(line)
    sys.stdout.flush()
    return NOT_ASKED if all(process.snapshot is None for process in processes) else 0


class _Top:
    """The live picture. A thread asks, so that a node which hangs does not hold up the keys."""

    def __init__(
        self, config: Config, terminal: Terminal, interval_seconds: float, column: Column
    ) -> None:
        self._config = config
        self._terminal = terminal
        self._interval_seconds = interval_seconds
        self._column = column
        self._former: Sequence[Process] = ()
        self._now: Sequence[Process] = ()
        self._problem = "asking the node …"
        self._enough = threading.Event()

    def run(self) -> None:
        """Until somebody has seen enough."""
        asking = threading.Thread(target=self._ask, name="asking", daemon=True)
        asking.start()
        try:
            while True:
                self._draw()
                keys = self._terminal.keys(self._interval_seconds)
                if keys is None or keys == ESCAPE or QUIT & set(keys):
                    return
                for key in "" if keys.startswith(ESCAPE) else keys:
                    self._column = BY_KEY.get(key, self._column)
        finally:
            self._enough.set()

    def _ask(self) -> None:
        while not self._enough.is_set():
            try:
                found: Sequence[Process] = processes_of(self._config)
                self._problem = "" if found else NOBODY
            except CannotLook as error:
                found, self._problem = (), str(error)
            self._former, self._now = self._now, found
            self._terminal.wake()
            self._enough.wait(self._interval_seconds)

    def _draw(self) -> None:
        width, height = self._terminal.size
        former, now = self._former, self._now
        if not now:
            self._terminal.draw([self._problem[: max(0, width - 1)]], marked=-1)
            return
        lines = screen(now, former, self._column, width=width - 1, height=height)
        heading = next((n for n, line in enumerate(lines) if "REPOSITORY" in line), -1)
        self._terminal.draw(lines, marked=heading)
