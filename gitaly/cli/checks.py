"""What a check of `gitaly check` is."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

from gitaly.config import Config
from gitaly.errors import NodeError
from gitaly.observe.log import make_logger
from gitaly.runtime_dir import RuntimeDirectory


class CheckFailed(NodeError):
    """A check has found something that keeps the node from working. `advice`: what to do."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Found:
    """What a check has found when nothing keeps the node from working."""

    summary: str = ""  # stands in brackets behind "OK"
    lines: Sequence[str] = ()  # further lines, as they are
    warning: str = ""  # what to do nevertheless: the line says WARNING then, and it is no failure


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the answer. `run` raises CheckFailed, NodeError or OSError."""

    what: str
    run: Callable[[], Found]
    advice: str = ""  # what to do where the error does not say


@dataclass
class Subject:
    """What is checked."""

    config: Config
    stack: ExitStack  # for what has to live as long as the checks

    @cached_property
    def runtime(self) -> RuntimeDirectory:
        """The directory that a node of this configuration would use. Raises NoRuntimeDirectory."""
        logger = make_logger(sys.stderr.buffer, level="fatal")
        return self.stack.enter_context(RuntimeDirectory(self.config.runtime_dir, logger))
