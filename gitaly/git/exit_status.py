"""How a child ended, and the words in which Gitaly's clients expect to read it."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

# Go's names of signals; a client that matches on "signal: killed" must find it.
SIGNAL_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {
        signal.SIGHUP: "hangup",
        signal.SIGINT: "interrupt",
        signal.SIGQUIT: "quit",
        signal.SIGILL: "illegal instruction",
        signal.SIGTRAP: "trace/breakpoint trap",
        signal.SIGABRT: "aborted",
        signal.SIGBUS: "bus error",
        signal.SIGFPE: "floating point exception",
        signal.SIGKILL: "killed",
        signal.SIGUSR1: "user defined signal 1",
        signal.SIGSEGV: "segmentation fault",
        signal.SIGUSR2: "user defined signal 2",
        signal.SIGPIPE: "broken pipe",
        signal.SIGALRM: "alarm clock",
        signal.SIGTERM: "terminated",
    }
)


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a child: an exit code, or the signal that ended it. True in conditions: code 0."""

    code: int | None  # None: ended by a signal
    signal: int | None = None
    dumped_core: bool = False

    @classmethod
    def of_wait_status(cls, status: int) -> "Exit":
        """What waitpid(2) reported."""
        if os.WIFSIGNALED(status):
            return cls(None, os.WTERMSIG(status), os.WCOREDUMP(status))
        return cls(os.WEXITSTATUS(status))

    @property
    def number(self) -> int:
        """As a shell and Go's callers count: the code, or 128 and the signal's number."""
        return 128 + (self.signal or 0) if self.code is None else self.code

    def __bool__(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit status {self.code}"
        name = SIGNAL_NAMES.get(self.signal, f"signal {self.signal}")
        return f"signal: {name}" + (" (core dumped)" if self.dumped_core else "")
