"""The frames of HTTP/2, and the errors that end a connection or a stream. Source: RFC 9113."""

import struct
from enum import IntEnum, IntFlag
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = struct.Struct(">BHBBI")  # size (24 bits in two fields), type, flags, stream
HEAD_BYTES: Final = 9
MOST_PAYLOAD_BYTES: Final = 16_384  # of a frame, unless a peer allows more
MOST_PAYLOAD_EVER: Final = (1 << 24) - 1
DEFAULT_WINDOW: Final = 65_535
MOST_WINDOW: Final = (1 << 31) - 1
LAST_STREAM: Final = (1 << 31) - 1


class Kind(IntEnum):
    """Of a frame."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    """Of a frame; ACK and END_STREAM share a bit."""

    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 32


PADDED: Final = int(Flag.PADDED)  # the operators of an enumeration are slow


class Setting(IntEnum):
    """What a side tells of itself."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ProtocolError(Exception):
    """The peer has broken the rules, and the connection has to end."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamError(Exception):
    """The peer has broken the rules of one stream, which is reset."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before the payload."""
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream) + payload


def settings_frame(settings: dict[Setting, int]) -> bytes:
    """What we tell of ourselves."""
    payload = b"".join(struct.pack(">HI", *setting) for setting in settings.items())
    return frame(Kind.SETTINGS, 0, 0, payload)


def goaway_frame(last_stream: int, code: ErrorCode, text: str = "") -> bytes:
    """Streams after the last one have not been and will not be looked at."""
    return frame(Kind.GOAWAY, 0, 0, struct.pack(">II", last_stream, code) + text.encode())


def window_frame(stream: int, more: int) -> bytes:
    """The peer may send so much more. 0: on the whole connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload without its padding. Raises ProtocolError if it is longer than the frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]
