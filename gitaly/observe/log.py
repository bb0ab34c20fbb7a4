"""The node's log: one line per event on standard output, JSON or text, in Gitaly's field names."""

import os
import time
from collections.abc import Mapping
from typing import BinaryIO, Final

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Logger = FilteringBoundLogger

# Logrus knows seven levels, Python five; the outer two pairs fall together.
LEVELS: Final[Mapping[str, int]] = {
    "trace": 10,
    "debug": 10,
    "info": 20,
    "warn": 30,
    "warning": 30,
    "error": 40,
    "fatal": 50,
    "panic": 50,
}
MOST_ERROR_CHARACTERS: Final = 1024
ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


class Stamp:
    """Adds time (UTC, milliseconds), pid and level; formats the second only when it changes."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._second = -1
        self._text = ""

    def __call__(self, _: WrappedLogger, level: str, event: EventDict) -> EventDict:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        event["time"] = f"{self._text}.{int((now - second) * 1000):03d}Z"
        event["level"] = level
        event["pid"] = self._pid
        event["msg"] = event.pop("event")
        return event


def shorten_error(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Cut long error texts, as Gitaly does: a log line is no place for a megabyte of stderr."""
    error = event.get("error")
    if error is not None:
        text = str(error)
        if len(text) > MOST_ERROR_CHARACTERS:
            text = text[:MOST_ERROR_CHARACTERS] + "... (truncated)"
        event["error"] = text
    return event


def render_json(_: WrappedLogger, __: str, event: EventDict) -> bytes:
    """One JSON object; what JSON does not know is written as text."""
    return ENCODER.encode(event)


class RenderText:
    """One line of key=value pairs, time, level and message first."""

    def __init__(self) -> None:
        self._render = structlog.processors.LogfmtRenderer(
            sort_keys=True, key_order=["time", "level", "msg"], bool_as_flag=False
        )

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        plain = {k: v if isinstance(v, str | int | float) else str(v) for k, v in event.items()}
        return self._render(logger, level, plain).encode(errors="replace")


def make_logger(file: BinaryIO, *, format: str = "text", level: str = "info") -> Logger:  # noqa: A002  # the configuration's word
    """A logger that writes to a file, unbuffered by line.

    Formats: "json", "text". Levels: those of LEVELS. Others raise KeyError or ValueError.
    """
    if format not in {"json", "text"}:
        raise ValueError(f'invalid logger format "{format}"')
    render: Processor = render_json if format == "json" else RenderText()
    logger: Logger = structlog.wrap_logger(
        structlog.BytesLogger(file),
        processors=[shorten_error, Stamp(), render],
        wrapper_class=type("NodeLogger", (_filtering(level),), {}),
        context_class=dict,
    ).bind()  # bound once: the lazy proxy would bind anew for each line
    return logger


def set_level(logger: Logger, level: str) -> None:
    """Change what is logged, at once and for all that was bound from a logger of `make_logger`.

    structlog gives each level a class, whose methods below the level do nothing, so that a line
    which nobody wants costs nothing. The class of our own between it and the loggers is what can be
    given another base while they are in use. Raises KeyError for a level that is not in LEVELS.
    """
    type(logger).__bases__ = (_filtering(level),)


def _filtering(level: str) -> type[Logger]:
    found: type[Logger] = structlog.make_filtering_bound_logger(LEVELS[level])
    return found
