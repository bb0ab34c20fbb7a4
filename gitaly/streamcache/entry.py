"""The life of one entry, from the request that wants it first to its removal. No I/O.

FILLING ──► COMPLETE ──► (dropped)        git writes, and readers follow; then it is whole
   │ └────► FAILED                        git failed: each reader gets the error, once
   └──────► SPILLING ──► ENDED, FAILED    it cannot be kept: readers get it straight from git
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gitaly.errors import NodeError
from gitaly.streamcache.reader import Reader

MOST_MESSAGES_BYTES: Final = 256 * 1024  # of git's progress that is kept for later readers


class State(Enum):
    """Where an entry is in its life."""

    FILLING = "filling"
    SPILLING = "spilling"
    COMPLETE = "complete"
    ENDED = "ended"  # all readers have it, and nobody can have it again
    FAILED = "failed"


@dataclass(eq=False, slots=True)
class Position:
    """How far one reader is."""

    entry: "Entry"
    reader: Reader
    is_owner: bool  # it came first, and git runs on its behalf
    is_lost: bool = False  # it could not be given what it needs next
    bytes: int = 0  # of what git writes
    messages: int = 0  # bytes of git's progress


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What a file must still be to be trusted: any writing to it changes this."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


@dataclass(eq=False, slots=True, kw_only=True)
class Entry:
    """What one git writes, kept or not."""

    key: str  # empty: nobody else may have it
    repository: str  # "<storage>/<relative path>", for the log
    created: float  # monotonic seconds
    state: State = State.FILLING
    size: int = 0  # bytes that the file has, and readers may copy
    produced: int = 0  # bytes that git has written, whether they were kept or not
    messages: bytearray = field(default_factory=bytearray)  # git's stderr
    path: str = ""  # of the file; empty: there is none
    identity: FileIdentity | None = None  # once it is complete
    error: NodeError | None = None
    statistics: dict[str, int] = field(default_factory=dict)  # of git's work, for the log
    unkept: str = ""  # why it is not kept: "unrepeatable", "room", "error", "off"
    seen: int = 1  # requests for the key, as far as is remembered
    requests: int = 0  # that this entry has served
    storm_requests: int = 0  # since the log spoke of it last
    storm_bytes: int = 0
    is_dropped: bool = False  # not to be found any more
    readers: set[Position] = field(default_factory=set)
    _waiters: set[asyncio.Future[None]] = field(default_factory=set)

    @classmethod
    def own(cls, repository: str) -> "Entry":
        """For one reader alone: it goes straight through and is found by nobody."""
        return cls(
            key="", repository=repository, created=0.0, state=State.SPILLING, is_dropped=True
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to its bytes."""
        return self.state in (State.COMPLETE, State.ENDED, State.FAILED)

    @property
    def fastest(self) -> int:
        """How far the fastest reader is."""
        return max((reader.bytes for reader in self.readers), default=0)

    def join(self, reader: Reader, *, is_owner: bool) -> Position:
        """Another reader, at the beginning."""
        position = Position(self, reader, is_owner)
        self.readers.add(position)
        self.requests += 1
        self.storm_requests += 1
        return position

    def leave(self, position: Position) -> None:
        """A reader is gone, or has everything."""
        self.readers.discard(position)
        self.notify()

    def advance(self, position: Position, moved: int) -> None:
        """A reader has copied so many bytes."""
        position.bytes += moved
        self.notify()

    def grow(self, count: int) -> None:
        """The file has so many bytes more."""
        self.size += count
        self.produced += count
        self.notify()

    def say(self, text: bytes) -> None:
        """Git has said something; what is said beyond a limit is lost to all."""
        room = MOST_MESSAGES_BYTES - len(self.messages)
        if room > 0:
            self.messages += text[:room]
            self.notify()

    def spill(self) -> None:
        """From here on nothing is kept."""
        assert self.state is State.FILLING
        self.state = State.SPILLING
        self.notify()

    def complete(self, identity: FileIdentity) -> None:
        """Everything is in the file."""
        assert self.state is State.FILLING
        self.state, self.identity = State.COMPLETE, identity
        self.notify()

    def end(self) -> None:
        """Everything has been handed to the readers."""
        assert self.state is State.SPILLING
        self.state = State.ENDED
        self.notify()

    def fail(self, error: NodeError) -> None:
        """It will not become whole."""
        if not self.is_over:
            self.state, self.error = State.FAILED, error
            self.notify()

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def changed(self) -> asyncio.Future[None]:
        """Done at the next change. Give it to `forget` if you don't wait to the end."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        return waiter

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Nobody waits for this change any more."""
        self._waiters.discard(waiter)
