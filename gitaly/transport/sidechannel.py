"""The sidechannel: what git reads and writes, on a stream beside the gRPC call that started it.

The node opens the stream and names the call; the client says "ok". Then the client sends its bytes
in frames, whose last one, 0000, means end of input: the stream itself cannot be closed one way.
The node's bytes are not framed. Source: Gitaly, internal/grpc/sidechannel/{sidechannel,conn}.go.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

from gitaly.errors import Internal, Unavailable
from gitaly.transport.pktline import (
    FLUSH,
    LENGTH_SIZE,
    MAX_DATA,
    PktLineError,
    length_prefix,
    packet_size,
)

MAGIC: Final = b"sidechannel"
CONFIRMATION: Final = b"ok"
END_OF_INPUT: Final = FLUSH
METADATA_KEY: Final = "gitaly-sidechannel-id"

ID: Final = struct.Struct(">q")
MIN_ID: Final = -(2**63)
MAX_ID: Final = 2**63 - 1

GO_ESCAPES: Final = {
    **{byte: f"\\{letter}" for byte, letter in zip(b"\a\b\f\n\r\t\v", "abfnrtv", strict=True)},
    **{byte: f"\\{chr(byte)}" for byte in b'"\\'},
}


class SidechannelFailed(Internal):
    """The client does not speak the sidechannel's protocol."""


class SidechannelBroken(Unavailable):
    """The stream ended where more had to come; the same call may work the next time."""


def parse_id(text: str) -> int:
    """The number in the metadata of a call. What is not a number is 0, what is too big the
    nearest 64-bit number: so read Gitaly's nodes."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        return 0
    # more digits than this cannot fit, and int() of very long ones is slow or refused
    magnitude = int(text.lstrip("+-").lstrip("0")[:20] or "0")
    return max(MIN_ID, min(MAX_ID, -magnitude if text.startswith("-") else magnitude))


class ServerHandshake:
    """The node's side of the opening: send `greeting`, then wait for the client's "ok"."""

    def __init__(self, sidechannel_id: int) -> None:
        self.greeting: Final = MAGIC + ID.pack(sidechannel_id)
        self._reply = b""

    def receive(self, data: memoryview) -> memoryview | None:
        """None: more has to come. Else the client agrees, and this is what follows its "ok".

        Raises SidechannelFailed for another answer.
        """
        missing = len(CONFIRMATION) - len(self._reply)
        self._reply += data[:missing]
        if len(self._reply) < len(CONFIRMATION):
            return None
        if self._reply != CONFIRMATION:
            raise SidechannelFailed(f"sidechannel: expected ok, got {_go_quoted(self._reply)}")
        return data[missing:]

    def at_end(self) -> SidechannelBroken:
        """The error to raise if the stream ends before the client has agreed."""
        what = "unexpected EOF" if self._reply else "EOF"
        return SidechannelBroken(f"sidechannel: receive confirmation: {what}")


class ClientHandshake:
    """The client's side of the opening: reads magic and id; answer CONFIRMATION, or close."""

    def __init__(self) -> None:
        self.sidechannel_id: int | None = None  # None: not known yet
        self._head = b""

    def receive(self, data: memoryview) -> memoryview | None:
        """None: more has to come. Else `sidechannel_id` is known, and this is what follows it.

        Raises SidechannelFailed as soon as the bytes can't be a sidechannel's.
        """
        missing = len(MAGIC) + ID.size - len(self._head)
        self._head += data[:missing]
        magic = self._head[: len(MAGIC)]
        if not MAGIC.startswith(magic):
            raise SidechannelFailed(f"sidechannel: unexpected first bytes {_go_quoted(magic)}")
        if len(self._head) < len(MAGIC) + ID.size:
            return None
        (self.sidechannel_id,) = ID.unpack(self._head[len(MAGIC) :])
        return data[missing:]


class InputDecoder:
    """Cuts what the client sends into the bytes that git shall read.

    Keeps at most three bytes. `is_ended` becomes True with 0000; what follows is ignored.
    """

    def __init__(self) -> None:
        self.is_ended = False
        self._head = b""
        self._data_left = 0  # of the current frame

    def receive(self, data: memoryview) -> Iterator[memoryview]:
        """Slices of `data`, never empty; exhaust it before the next call.

        Raises SidechannelFailed for a length that is not hex, too big, or 0001 to 0003.
        """
        position = 0
        while position < len(data) and not self.is_ended:
            if self._data_left:
                piece = data[position : position + self._data_left]
                self._data_left -= len(piece)
                position += len(piece)
                yield piece
                continue
            missing = LENGTH_SIZE - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            if len(self._head) == LENGTH_SIZE:
                self._start_frame()

    def _start_frame(self) -> None:
        try:
            size = packet_size(self._head)
        except PktLineError as error:
            raise SidechannelFailed(f"sidechannel: {error}") from error
        if 0 < size < LENGTH_SIZE:
            raise SidechannelFailed(f"sidechannel: invalid header {size}")
        self.is_ended = size == 0
        self._data_left = max(size - LENGTH_SIZE, 0)
        self._head = b""

    def at_end(self) -> None:
        """The stream has ended. Raises SidechannelBroken if the client did not say 0000 before."""
        if not self.is_ended:
            raise SidechannelBroken("unexpected EOF")


class InputEncoder:
    """The client's side of InputDecoder."""

    def __init__(self) -> None:
        self._is_finished = False

    def encode(self, data: memoryview) -> list[bytes | memoryview]:
        """`data`, of any size, as frames: headers alternate with slices, nothing is copied.

        Raises ValueError after finish().
        """
        if self._is_finished:
            raise ValueError("sidechannel: write into a half-closed connection")
        buffers: list[bytes | memoryview] = []
        for start in range(0, len(data), MAX_DATA):
            piece = data[start : start + MAX_DATA]
            buffers += (length_prefix(len(piece)), piece)
        return buffers

    def finish(self) -> bytes:
        """The end of the input, to be sent once: nothing from the second time on."""
        already, self._is_finished = self._is_finished, True
        return b"" if already else END_OF_INPUT


def _go_quoted(data: bytes) -> str:
    """As Go's %q writes bytes that are ASCII or nonsense."""
    escaped = (
        GO_ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")
        for byte in data
    )
    return f'"{"".join(escaped)}"'
