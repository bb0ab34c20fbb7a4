"""side-band-64k: several byte streams in one, as pkt-lines. Source: gitprotocol-pack(5).

Each packet carries one byte that says which stream its data belong to. On the SSH sidechannel no
flush packet follows the last one: its Go clients fail on it (internal/git/pktline/pktline.go).
"""

from collections.abc import Iterator
from typing import Final

from gitaly.transport.pktline import LENGTH_SIZE, MAX_SIZE, PktLineError, packet_size

STDOUT: Final = 1
STDERR: Final = 2

HEADER_SIZE: Final = LENGTH_SIZE + 1  # length, band
MAX_DATA: Final = MAX_SIZE - HEADER_SIZE

FULL_HEADERS: Final = tuple(b"%04x%c" % (MAX_SIZE, band) for band in range(256))


def frames(band: int, data: memoryview) -> list[bytes | memoryview]:
    """`data`, of any size, as packets of at most MAX_DATA bytes for one band (0 to 255).

    Headers alternate with slices of `data`, which is not copied; no data give no packet.
    """
    whole = len(data) - len(data) % MAX_DATA
    header = FULL_HEADERS[band]
    buffers: list[bytes | memoryview] = []
    for start in range(0, whole, MAX_DATA):
        buffers += (header, data[start : start + MAX_DATA])
    if whole < len(data):
        buffers += (b"%04x%c" % (len(data) - whole + HEADER_SIZE, band), data[whole:])
    return buffers


class SidebandDecoder:
    """Received bytes in, (band, piece of data) out. Keeps at most one incomplete header."""

    def __init__(self) -> None:
        self._head = b""
        self._data_left = 0  # of the current packet
        self._band = 0

    def receive(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """What has come for which band, in order; exhaust it before the next call.

        Pieces are slices of `data`, never empty: a packet may come in several, and an empty one,
        as git's keepalive is, in none. Raises PktLineError for a packet without band, too.
        """
        position = 0
        while position < len(data):
            if self._data_left:
                piece = data[position : position + self._data_left]
                self._data_left -= len(piece)
                position += len(piece)
                yield self._band, piece
                continue
            missing = HEADER_SIZE - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            self._parse_head()

    def _parse_head(self) -> None:
        if len(self._head) < LENGTH_SIZE:
            return
        size = packet_size(self._head[:LENGTH_SIZE])
        if size < HEADER_SIZE:
            raise PktLineError(f'invalid sideband packet: "{self._head[:LENGTH_SIZE].decode()}"')
        if len(self._head) == HEADER_SIZE:
            self._data_left = size - HEADER_SIZE
            self._band = self._head[LENGTH_SIZE]
            self._head = b""

    def at_end(self) -> None:
        """The stream has ended. Raises PktLineError if that is inside of a packet."""
        if self._head or self._data_left:
            raise PktLineError("unexpected EOF")
