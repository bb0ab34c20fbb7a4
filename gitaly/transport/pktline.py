"""pkt-line: packets that begin with their length in four hex digits. Source: gitprotocol-common(5).

The length counts its own four digits. 0000, 0001 and 0002 are packets of their own (flush, delim,
response-end); 0003 is passed on like them, as Gitaly does (internal/git/pktline/pktline.go).
"""

from collections.abc import Iterator
from typing import Final

from gitaly.errors import NodeError

FLUSH: Final = b"0000"
DELIM: Final = b"0001"
RESPONSE_END: Final = b"0002"

LENGTH_SIZE: Final = 4
MAX_SIZE: Final = 65_520  # one packet with its length
MAX_DATA: Final = MAX_SIZE - LENGTH_SIZE

HEX_DIGITS: Final = b"0123456789abcdefABCDEF"


class PktLineError(NodeError):
    """The bytes are not packets, or they end inside of one."""


def length_prefix(size: int) -> bytes:
    """The four digits before `size` bytes of data. Raises ValueError for more than MAX_DATA."""
    if size > MAX_DATA:
        raise ValueError(f"{size} bytes do not fit into one packet")
    return b"%04x" % (size + LENGTH_SIZE)


def encode(payload: bytes) -> bytes:
    """The packet that carries `payload`, of at most MAX_DATA bytes; else ValueError."""
    return length_prefix(len(payload)) + payload


def packet_size(digits: bytes) -> int:
    """The value of four hex digits: 0 to 3 for special packets, else what the packet has in all.

    Raises PktLineError for anything else than hex digits, or for more than MAX_SIZE.
    """
    if len(digits) != LENGTH_SIZE or digits.strip(HEX_DIGITS):
        raise PktLineError(f"invalid packet length {ascii(digits)[1:]}")
    size = int(digits, 16)
    if size > MAX_SIZE:
        raise PktLineError(f"invalid packet length: {size} is more than {MAX_SIZE}")
    return size


class PktLineReader:
    """Received bytes in, whole packets out. Keeps at most one incomplete packet.

    For lines that are read here, not for bulk data: packets are copied.
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def receive(self, data: bytes | memoryview) -> Iterator[bytes]:
        """The packets that `data` completes, each with its length: `packet[4:]` is the payload,
        and special packets equal FLUSH, DELIM, RESPONSE_END. Exhaust it before the next call.

        Raises PktLineError where the bytes are no packet, and is of no use after that.
        """
        self._rest += data
        start = 0
        while len(self._rest) - start >= LENGTH_SIZE:
            size = packet_size(bytes(self._rest[start : start + LENGTH_SIZE]))
            end = start + max(size, LENGTH_SIZE)
            if end > len(self._rest):
                break
            yield bytes(self._rest[start:end])
            start = end
        del self._rest[:start]

    def at_end(self) -> None:
        """The stream has ended. Raises PktLineError if that is inside of a packet."""
        if self._rest:
            raise PktLineError("unexpected EOF")
