"""The words of yamux: headers, limits, events and errors. Source: hashicorp/yamux, spec.md.

A frame is a header of 12 bytes, big endian; only Data frames carry a payload, of `length` bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from gitaly.errors import NodeError, Unavailable

if TYPE_CHECKING:
    from gitaly.transport.yamux import Stream

VERSION: Final = 0

DATA: Final = 0  # length: bytes of payload
WINDOW_UPDATE: Final = 1  # length: what the sender may send in addition
PING: Final = 2  # length: an opaque value, echoed
GO_AWAY: Final = 3  # length: the reason, below

SYN: Final = 0x1  # opens a stream; on a ping: please answer
ACK: Final = 0x2  # accepts a stream; on a ping: the answer
FIN: Final = 0x4  # the sender sends no more on this stream
RST: Final = 0x8  # the stream is over, both ways, at once

NORMAL: Final = 0
PROTOCOL_ERROR: Final = 1

INITIAL_WINDOW: Final = 262_144  # both sides assume it for each direction of a new stream
MAX_UINT32: Final = 0xFFFF_FFFF

HEADER: Final = struct.Struct(">BBHII")  # version, type, flags, stream id, length
pack_header: Final = HEADER.pack


class ProtocolError(NodeError):
    """The peer broke the protocol; the session is over and its connection must be closed."""


class CannotOpen(Unavailable):
    """No new stream: the peer went away, too many are open, or the ids are used up."""


class Header(NamedTuple):
    """The first 12 bytes of a frame; what `length` means depends on `kind`."""

    version: int
    kind: int
    flags: int
    stream_id: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one session allows its peer. Raises ValueError for a window the protocol can't have.

    A node lets its client open one stream, for gRPC, and nothing else: see NODE_LIMITS.
    """

    accept_backlog: int = 256  # streams of the peer that wait for accept()
    max_peer_streams: int = 4096  # streams of the peer, accepted or not, that are open at once
    max_streams: int = 65_536  # streams of both sides that are open at once
    max_window: int = INITIAL_WINDOW  # bytes of one stream that may wait here to be consumed
    max_frame_size: int | None = None  # bytes of payload in one frame; None: the window decides
    max_pending_replies: int = 1024  # ping answers and refusals that wait for data_to_send()

    def __post_init__(self) -> None:
        if not INITIAL_WINDOW <= self.max_window <= MAX_UINT32:
            raise ValueError(f"max_window {self.max_window} is not in 262144..4294967295")


NODE_LIMITS: Final = Limits(
    accept_backlog=1,
    max_peer_streams=1,
    max_window=16 * 1024 * 1024,
    max_pending_replies=32 * 1024,  # more frames than one read from a socket may bring
)


# Events are made for every piece of payload; frozen ones would cost twice as much to make.


@dataclass(slots=True)
class StreamOpened:
    """The peer opened a stream: answer with accept() or reset(). Data may follow before that."""

    stream: "Stream"


@dataclass(slots=True)
class StreamAccepted:
    """The peer accepted a stream that we opened. This never comes from a hashicorp peer that read
    our FIN before it accepted: it then forgets to send the ACK."""

    stream: "Stream"


@dataclass(slots=True)
class DataReceived:
    """A piece of payload, never empty. It is a view of what was given to receive(): use or copy
    it before that buffer is filled again, and tell consumed() when its bytes have left us."""

    stream: "Stream"
    data: memoryview


@dataclass(slots=True)
class WindowOpened:
    """`stream.send_window` grew."""

    stream: "Stream"


@dataclass(slots=True)
class StreamFinished:
    """The peer sends no more on this stream; we still may."""

    stream: "Stream"


@dataclass(slots=True)
class StreamReset:
    """The peer broke the stream off, or refused it; nothing moves on it any more."""

    stream: "Stream"


@dataclass(slots=True)
class GoAwayReceived:
    """The peer accepts no new streams. Code 0: open ones go on; else: close the connection."""

    code: int


@dataclass(slots=True)
class PingAnswered:
    """The peer answered a ping, or pretends so: `opaque` is what it sent."""

    opaque: int


Event = (
    DataReceived
    | WindowOpened
    | StreamOpened
    | StreamAccepted
    | StreamFinished
    | StreamReset
    | GoAwayReceived
    | PingAnswered
)


class FrameDecoder:
    """Cuts received bytes into headers and pieces of payload.

    Keeps at most one incomplete header (11 bytes); payload is handed on as it comes, uncopied,
    and belongs to the header before it.
    """

    def __init__(self) -> None:
        self._head = b""
        self._payload_left = 0  # bytes of the current Data frame still to come

    def receive(self, data: memoryview) -> Iterator[Header | memoryview]:
        """All that `data` completes, in order; to be exhausted before the next call.

        Raises ProtocolError when it comes to a header of another version or an unknown type.
        """
        position = 0
        while position < len(data):
            if self._payload_left:
                piece = data[position : position + self._payload_left]
                self._payload_left -= len(piece)
                position += len(piece)
                yield piece
                continue
            missing = HEADER.size - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            if len(self._head) == HEADER.size:
                yield self._header()

    def _header(self) -> Header:
        header = Header._make(HEADER.unpack(self._head))
        if header.version != VERSION:
            raise ProtocolError(f"yamux: unknown version {header.version}")
        if header.kind > GO_AWAY:
            raise ProtocolError(f"yamux: unknown frame type {header.kind}")
        self._head = b""
        if header.kind == DATA:
            self._payload_left = header.length
        return header
