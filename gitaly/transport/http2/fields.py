"""Header fields: compressed by the peer, plain from us. Source: RFC 7541 (HPACK); RFC 9113, 8."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from hpack import Decoder, HPACKError
from hpack.exceptions import OversizedHeaderListError

from gitaly.transport.http2.frames import ErrorCode, ProtocolError

Fields = Sequence[tuple[bytes, bytes]]
Head = TypeVar("Head")

# Of the fields of a request, and of their block. Clients of GitLab need 8 KiB; to decode one that
# is much larger would hold up everybody.
MOST_LIST_BYTES: Final = 256 << 10
FIELD_BYTES: Final = 32  # that each field counts beside its text. Source: RFC 9113, 6.5.2
MOST_KNOWN: Final = 64  # blocks that are remembered
MOST_KNOWN_BYTES: Final = 4096  # of one of them
# The decoder copies all that is left of a block at every field of it, so that it gets a long one in
# pieces: the time for a block must not grow with the square of its size.
PIECE_BYTES: Final = 4096
MOST_INTEGER_BYTES: Final = 6  # beside the prefix; more than any size or number needs
# Ours is empty from our first block on, which needs to be said once; see `encoded`.
EMPTY_TABLE: Final = b"\x20"
PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
NEEDED: Final = frozenset({b":method", b":scheme", b":path"})
# They concern a connection of HTTP/1, and must not be in a request of HTTP/2.
FORBIDDEN: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)


# Source: RFC 9113, 8.2.1; RFC 9110, 5.6.2. What is refused could pass for another field or line.
NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class MalformedRequest(Exception):
    """The fields are no request."""


class FieldDecoder(Generic[Head]):
    """Decodes the blocks of one connection, in their order.

    Clients send the same few blocks again and again. One that neither adds to the table nor
    resizes it means the same until another one does, so that it needs to be read once.
    """

    def __init__(self, read: Callable[[Fields], Head]) -> None:
        """`read` makes of the fields what they are kept as; it may raise MalformedRequest."""
        self._read = read
        self._decoder = Decoder(max_header_list_size=MOST_LIST_BYTES)
        self._known: dict[bytes, Head] = {}

    def decode(self, block: bytes) -> Head:
        """Raises ProtocolError, and MalformedRequest of `read`; the table stays right after it."""
        known = self._known.get(block)
        if known is not None:
            return known
        lasts = is_lasting(block)
        head = self._read(self._fields(block, lasts=lasts))
        if lasts and len(block) <= MOST_KNOWN_BYTES and len(self._known) < MOST_KNOWN:
            self._known[block] = head
        return head

    def fields(self, block: bytes) -> Fields:
        """As they are. Raises ProtocolError."""
        return self._fields(block, lasts=is_lasting(block))

    def _fields(self, block: bytes, *, lasts: bool) -> Fields:
        if not lasts:
            self._known.clear()
        try:
            if len(block) <= PIECE_BYTES:
                return self._decode(block)
            fields: list[tuple[bytes, bytes]] = []
            list_bytes = 0
            for piece in _pieces(block):
                found = self._decode(piece)
                list_bytes += sum(len(n) + len(v) + FIELD_BYTES for n, v in found)
                if list_bytes > MOST_LIST_BYTES:
                    raise OversizedHeaderListError
                fields += found
            return fields
        except OversizedHeaderListError as error:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many header fields") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise ProtocolError(ErrorCode.COMPRESSION_ERROR, "header fields unreadable") from error

    def _decode(self, piece: bytes) -> list[tuple[bytes, bytes]]:
        return [(bytes(n), bytes(v)) for n, v in self._decoder.decode(piece, raw=True)]


def is_lasting(block: bytes) -> bool:
    """Whether a block leaves the table as it is. What is said of nonsense does not matter: the
    decoder refuses it."""
    at, end = 0, len(block)
    try:
        while at < end:
            first = block[at]
            if not first & 0x80 and first & 0x60:  # a field for the table, or another size of it
                return False
            at = _field_end(block, at)
    except (IndexError, ValueError):
        return False
    return True


def _pieces(block: bytes) -> Iterator[bytes]:
    """Whole fields, a few kilobytes of them each time. Raises IndexError, ValueError."""
    start = at = 0
    while at < len(block):
        if at == start > 0 and block[at] & 0xE0 == 0x20:
            raise ValueError("the table has another size in the middle of a block")
        at = _field_end(block, at)
        if at - start >= PIECE_BYTES:
            yield block[start:at]
            start = at
    yield block[start:]


def _field_end(block: bytes, at: int) -> int:
    """Where the field that begins there ends. Raises IndexError, ValueError. Source: RFC 7541, 6"""
    first = block[at]
    if first & 0x80:  # an entry of the table
        return _integer(block, at, 0x7F)[1]
    if first & 0xE0 == 0x20:  # another size of the table
        return _integer(block, at, 0x1F)[1]
    name, at = _integer(block, at, 0x3F if first & 0x40 else 0x0F)
    for _ in range(1 if name else 2):  # its name, unless that is in the table, and its value
        size, at = _integer(block, at, 0x7F)
        at += size
    return at


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer, and where it ends. Raises IndexError, ValueError. Source: RFC 7541, 5.1."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 7 * MOST_INTEGER_BYTES, 7):
        byte = block[at]
        value += (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("an integer is too long")


def require_request(fields: Fields) -> None:
    """Raises MalformedRequest unless these can be the fields of a request. Source: RFC 9113, 8."""
    seen: set[bytes] = set()
    is_regular = False
    for name, value in fields:
        if BAD_VALUE.search(value):
            raise MalformedRequest(f"field {name!r} has a forbidden value")
        if name.startswith(b":"):
            if is_regular or name not in PSEUDO or name in seen:
                raise MalformedRequest(f"misplaced field {name!r}")
            seen.add(name)
        else:
            is_regular = True
            if name in FORBIDDEN or not NAME.fullmatch(name):
                raise MalformedRequest(f"forbidden field {name!r}")
            if name == b"te" and value != b"trailers":
                raise MalformedRequest("te is not trailers")
    if not seen >= NEEDED or any(name == b":path" and not value for name, value in fields):
        raise MalformedRequest("a request without its method, scheme or path")


def encoded(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block that needs no table and adds nothing to it."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 0x7F:
        return bytes((size,)) + text
    head, size = bytearray(b"\x7f"), size - 0x7F
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + text
