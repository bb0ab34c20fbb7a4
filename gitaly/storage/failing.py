"""Errors of the operating system, in words that name no path of the server."""

from collections.abc import Iterator
from contextlib import contextmanager

from gitaly.errors import Internal
from gitaly.git import reason


@contextmanager
def as_internal(text: str) -> Iterator[None]:
    """An OSError that passes becomes Internal: "text: No space left on device"."""
    try:
        yield
    except OSError as error:
        raise Internal(f"{text}: {reason(error)}", path=str(error.filename)) from error
