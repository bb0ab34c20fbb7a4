"""Messages in the body of a request or an answer. No I/O.

Each has five bytes before it: whether it is compressed, and its size. Source: gRPC over HTTP/2.
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gitaly.errors import Internal, ResourceExhausted

PREFIX: Final = struct.Struct(">BI")
PREFIX_BYTES: Final = 5
MOST_MESSAGE_BYTES: Final = 4 << 20  # of a request. Source: grpc-go, its default
# How zlib is told which of its two formats is meant.
WINDOW_BITS: Final[Mapping[str, int]] = MappingProxyType({"gzip": 31, "deflate": 15})
ENCODINGS: Final = ("identity", *WINDOW_BITS)


def prefix(size: int) -> bytes:
    """What goes before an answer of that size; none of ours is compressed."""
    return PREFIX.pack(0, size)


class Cutter:
    """Cuts the body of a request into messages, whatever pieces it comes in."""

    def __init__(self, encoding: str, most_bytes: int = MOST_MESSAGE_BYTES) -> None:
        """`encoding`: one of ENCODINGS."""
        self._unpack = _unpacker(encoding, most_bytes)
        self._most_bytes = most_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now.

        Raises ResourceExhausted if one is too large, Internal if one cannot be unpacked.
        """
        if not self._rest and len(data) >= PREFIX_BYTES:
            flag, size = PREFIX.unpack_from(data)
            if not flag and len(data) == PREFIX_BYTES + size <= self._most_bytes:
                return [data[PREFIX_BYTES:]]  # the one of most calls
        self._rest += data
        messages: list[bytes] = []
        at, end = 0, len(self._rest)
        while end - at >= PREFIX_BYTES:
            flag, size = PREFIX.unpack_from(self._rest, at)
            if size > self._most_bytes:
                raise _too_large(size, self._most_bytes)
            stop = at + PREFIX_BYTES + size
            if stop > end:
                break
            raw = bytes(self._rest[at + PREFIX_BYTES : stop])
            if flag > 1:
                raise Internal(f"grpc: received unexpected payload format {flag}")
            messages.append(self._unpack(raw) if flag else raw)
            at = stop
        del self._rest[:at]
        return messages

    @property
    def is_between(self) -> bool:
        """Whether nothing of a message is missing."""
        return not self._rest


def _too_large(size: int, most: int) -> ResourceExhausted:
    return ResourceExhausted(f"grpc: received message larger than max ({size} vs. {most})")


def _unpacker(encoding: str, most_bytes: int) -> Callable[[bytes], bytes]:
    bits = WINDOW_BITS.get(encoding)
    if bits is None:

        def unpack(_: bytes) -> bytes:
            raise Internal("grpc: compressed flag set with identity or empty encoding")

        return unpack

    def inflate(raw: bytes) -> bytes:
        packed = zlib.decompressobj(bits)
        try:
            message = packed.decompress(raw, most_bytes + 1)
        except zlib.error as error:
            raise Internal(f"grpc: failed to decompress the received message: {error}") from error
        if len(message) > most_bytes:
            raise _too_large(len(message), most_bytes)
        if not packed.eof or packed.unused_data:
            what = "it is cut off" if not packed.eof else "something follows it"
            raise Internal(f"grpc: failed to decompress the received message: {what}")
        return message

    return inflate
