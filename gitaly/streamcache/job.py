"""What fills an entry: one git, and whatever belongs to it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gitaly.errors import NodeError
from gitaly.git import Child, PipeReader


class Work(Protocol):
    """A git that runs."""

    @property
    def source(self) -> PipeReader:
        """What it writes: the bytes of the entry."""
        ...

    async def finish(self) -> dict[str, int]:
        """Once the source has ended: what git tells of its work, for the log.

        Raises NodeError if what it wrote is not whole.
        """
        ...


class Sayer(Protocol):
    """Hears what git says beside its output."""

    def say(self, text: bytes) -> None:
        """Another piece."""
        ...


class Job(Protocol):
    """Makes what one entry keeps. It is started once."""

    def running(self, sayer: Sayer, doubt: Callable[[], None]) -> AbstractAsyncContextManager[Work]:
        """Its git, for the length of the block. Raises NodeError if it cannot start.

        `sayer` hears what readers shall be told; `doubt` is called when the bytes will do for
        those who already wait for them, but for nobody who comes from now on.
        """
        ...

    def explained(self, error: NodeError) -> bytes:
        """What its readers are told of an error that it has not told itself; may be empty."""
        ...


async def hear(child: Child, tell: Callable[[bytes], None]) -> None:
    """Read what a git says beside its output, to the end: it keeps the beginning for whoever asks
    why it failed, and `tell` gets every piece."""
    assert child.stderr is not None
    while piece := await child.stderr.read():
        child.heard.feed(piece)
        tell(piece)
