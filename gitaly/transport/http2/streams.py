"""The streams of a session, and what happens on them."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from gitaly.transport.http2.frames import ErrorCode

Buffer = bytes | memoryview


@dataclass(eq=False, slots=True)
class Stream:
    """One stream. What it has to send waits here for the peer's windows."""

    number: int
    send_window: int
    receive_window: int
    uncredited: int = 0  # bytes that are consumed, which the peer does not know yet
    waiting: deque[Buffer] = field(default_factory=deque)
    waiting_bytes: int = 0
    trailers: bytes | None = None  # the block that ends it, once nothing waits any more
    is_ended_here: bool = False  # we send nothing any more
    is_ended_there: bool = False
    is_reset: bool = False
    user: Any = None  # whoever is told what happens on it

    def queue(self, pieces: "list[Buffer]") -> None:
        """To be sent, as far as windows allow."""
        for piece in pieces:
            self.waiting.append(piece)
            self.waiting_bytes += len(piece)

    def take(self, count: int) -> list[Buffer]:
        """The first bytes of what waits; no more than there are."""
        taken: list[Buffer] = []
        self.waiting_bytes -= count
        while count:
            piece = self.waiting[0]
            if len(piece) <= count:
                taken.append(self.waiting.popleft())
                count -= len(piece)
            else:
                view = memoryview(piece)
                taken.append(view[:count])
                self.waiting[0] = view[count:]
                count = 0
        return taken

    def drop(self) -> None:
        """Nothing that waits will be sent."""
        self.waiting.clear()
        self.waiting_bytes = 0
        self.trailers = None


@dataclass(eq=False, slots=True)
class Ready:
    """The peer has introduced itself."""


@dataclass(eq=False, slots=True)
class StreamOpened:
    """A request; `head` is what the reader of its fields has made of them."""

    stream: Stream
    head: Any
    is_end: bool


@dataclass(eq=False, slots=True)
class DataReceived:
    """Some of its body."""

    stream: Stream
    data: bytes
    is_end: bool


@dataclass(eq=False, slots=True)
class StreamReset:
    """The peer has broken it off, or has made us do so."""

    stream: Stream
    code: ErrorCode


@dataclass(eq=False, slots=True)
class StreamDrained:
    """What waited for a window is on its way."""

    stream: Stream


@dataclass(eq=False, slots=True)
class Malformed:
    """A request that is none; it has been reset."""

    number: int


Event = Ready | StreamOpened | DataReceived | StreamReset | StreamDrained | Malformed
