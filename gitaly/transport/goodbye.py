"""Tells an HTTP/2 client to take its next call elsewhere, while the gRPC core goes on.

The core itself says so only when it shuts down, and then it cancels calls that were on their way.
So we put a GOAWAY frame of our own between two of its frames: "every stream that you have begun is
served, begin no more". Source: RFC 9113, 4.1 (frames), 6.8 (GOAWAY; the largest stream number is
for exactly this).
"""

from collections.abc import Sequence
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
    """Follows what a server says, and puts the frame where one may be. Needs all of it.

    Costs 1 µs for an answer of three frames.
    """

    def __init__(self) -> None:
        self._head = b""  # the beginning of a frame's head of which less has come
        self._left = 0  # bytes of a frame that are still to come
        self._has_begun = False  # the first frame, which must be the server's SETTINGS
        self._is_wanted = False

    def ask(self) -> bytes:
        """What to send now: the frame, or nothing, and then `pieces` will have it."""
        if self._has_begun and not self._left and not self._head:
            return GOAWAY
        self._is_wanted = True
        return b""

    def pieces(self, data: memoryview) -> Sequence[memoryview | bytes]:
        """What to send for these bytes of the server."""
        cut = self._next_frame(data) if self._is_wanted else None
        self._follow(data)
        if cut is None:
            return (data,)
        self._is_wanted = False
        return (data[:cut], GOAWAY, data[cut:])

    def _next_frame(self, data: memoryview) -> int | None:
        """Where in these bytes the frame ends that is on its way, or was to be the first."""
        end = self._left
        if self._head or not self._has_begun:
            head = self._head + data[:FRAME_HEAD_BYTES]
            if len(head) < FRAME_HEAD_BYTES:
                return None
            end = FRAME_HEAD_BYTES - len(self._head) + payload_size(head)
        return end if end <= len(data) else None

    def _follow(self, data: memoryview) -> None:
        size, end = len(data), self._left
        if self._head:
            missing = FRAME_HEAD_BYTES - len(self._head)
            self._head += data[:missing]
            if len(self._head) < FRAME_HEAD_BYTES:
                return
            self._has_begun = True
            end = missing + payload_size(self._head)
            self._head = b""
        while end + FRAME_HEAD_BYTES <= size:
            end += FRAME_HEAD_BYTES + (data[end] << 16 | data[end + 1] << 8 | data[end + 2])
            self._has_begun = True
        if end < size:
            self._head = bytes(data[end:])
            self._left = 0
        else:
            self._left = end - size


def payload_size(head: bytes) -> int:
    """Of a frame, by the bytes at its beginning."""
    return int.from_bytes(head[:3], "big")
