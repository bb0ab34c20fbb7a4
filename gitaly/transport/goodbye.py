"""Tells an HTTP/2 client to take its next call elsewhere, while the gRPC core goes on.

The core itself says so only when it shuts down, and then it cancels calls that were on their way.
So we put a GOAWAY frame of our own between two of its frames: "every stream that you have begun is
served, begin no more". Source: RFC 9113, 4.1 (frames), 6.8 (GOAWAY; the largest stream number is
for exactly this).
"""

from collections.abc import Iterator
from typing import Final

FRAME_HEAD_BYTES: Final = 9
LAST_STREAM: Final = (1 << 31) - 1
GOAWAY: Final = (
    (8).to_bytes(3, "big")  # size of what follows the head
    + bytes([7, 0])  # GOAWAY, no flags
    + bytes(4)  # of the connection
    + LAST_STREAM.to_bytes(4, "big")
    + bytes(4)  # NO_ERROR
)


class Goodbye:
    """Follows what a server says, and puts the frame where one may be. Needs all of it."""

    def __init__(self) -> None:
        self._head = b""  # of a frame of which less is known
        self._left = 0  # bytes of the frame's payload that are still to come
        self._frames = 0  # that are complete; the first must be the server's SETTINGS
        self._is_wanted = False

    @property
    def is_possible(self) -> bool:
        """Whether the next byte begins a frame, and not the first."""
        return self._frames > 0 and not self._left and not self._head

    def ask(self) -> bytes:
        """What to send now: the frame, or nothing, and then `pieces` will have it."""
        if self.is_possible:
            return GOAWAY
        self._is_wanted = True
        return b""

    def pieces(self, data: memoryview) -> Iterator[memoryview | bytes]:
        """What to send for these bytes of the server."""
        if not self._is_wanted:
            self._follow(data)
            yield data
            return
        end = self._follow_frame(data)
        while end < len(data) and not self.is_possible:
            end += self._follow_frame(data[end:])
        yield data[:end]
        if self.is_possible:
            self._is_wanted = False
            yield GOAWAY
        if end < len(data):
            self._follow(data[end:])
            yield data[end:]

    def _follow(self, data: memoryview) -> None:
        size = len(data)
        if size < self._left:  # the middle of a large frame
            self._left -= size
            return
        end = 0
        while end < size:
            end += self._follow_frame(data[end:])

    def _follow_frame(self, data: memoryview) -> int:
        """Take bytes of one frame; how many."""
        if not self._left:
            missing = FRAME_HEAD_BYTES - len(self._head)
            self._head += data[:missing]
            if len(self._head) < FRAME_HEAD_BYTES:
                return len(data)
            self._left = int.from_bytes(self._head[:3], "big")
            self._head = b""
            taken = min(missing + self._left, len(data))
            self._left -= taken - missing
        else:
            taken = min(self._left, len(data))
            self._left -= taken
        if not self._left:
            self._frames += 1
        return taken
