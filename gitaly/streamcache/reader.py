"""Who wants what a cache keeps, as far as the cache cares; and what it needs of others."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from gitaly.errors import Internal
from gitaly.git import PipeReader

P = ParamSpec("P")
T = TypeVar("T")


class CacheTrouble(Internal):
    """The cache failed, and not git: who has nothing yet can try again without it."""


class Report(Protocol):
    """What became of bytes for a reader."""

    @property
    def moved(self) -> int:
        """How many it took."""
        ...

    @property
    def error(self) -> int:
        """The errno that stopped it, or 0."""
        ...


class Reader(Protocol):
    """Somebody who waits for an entry's bytes. All methods raise Cancelled if it is gone."""

    @property
    def gone(self) -> asyncio.Event:
        """Set when nobody waits any more."""
        ...

    async def use_file(self, descriptor: int) -> None:
        """The file of the following copies; the descriptor stays the caller's."""
        ...

    async def copy(self, start: int, end: int) -> Report:
        """Move a part of the file to it; back when it has it."""
        ...

    async def take(self, source: PipeReader) -> int:
        """Move what comes out of a pipe to it, at least a byte; 0 at the end of the pipe."""
        ...

    async def write_stdout(self, data: bytes) -> Report:
        """Give it a part of what git writes; back when it has it."""
        ...

    async def write_stderr(self, data: bytes) -> None:
        """Give it what git says."""
        ...


class Blocking(Protocol):
    """Runs what blocks on threads."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Its result; if the caller is cancelled, not before its end."""
        ...
