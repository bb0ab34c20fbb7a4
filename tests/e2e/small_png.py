"""Makes the picture of a page small: a page has few colours, but letters have soft edges.

Source: PNG specification (filters, palette), w3.org/TR/png.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_COLOURS = 256


def small_png(picture: bytes) -> bytes:
    """The same picture with a palette of at most 256 colours. It must be 8-bit RGB."""
    chunks = list(_chunks(picture))
    width, height, depth, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    assert (depth, kind) == (8, 2)
    data = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    rows = list(_unfiltered(data, width * 3, height))
    palette, indexed = _indexed(rows)
    raw = b"".join(b"\0" + row for row in indexed)
    return SIGNATURE + b"".join(
        [
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", zlib.compress(raw, 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(SIGNATURE)
    while place < len(picture):
        size, name = struct.unpack_from(">I4s", picture, place)
        yield name, picture[place + 8 : place + 8 + size]
        place += size + 12


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _unfiltered(data: bytes, size: int, height: int) -> Iterator[bytes]:
    above = bytes(size)
    for number in range(height):
        start = number * (size + 1)
        row = bytearray(data[start + 1 : start + 1 + size])
        _undo(data[start], row, above)
        above = bytes(row)
        yield above


def _undo(kind: int, row: bytearray, above: bytes) -> None:
    for i, value in enumerate(row):
        left = row[i - 3] if i >= 3 else 0
        corner = above[i - 3] if i >= 3 else 0
        added = (0, left, above[i], (left + above[i]) // 2, _paeth(left, above[i], corner))[kind]
        row[i] = (value + added) & 255


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    distances = abs(guess - left), abs(guess - up), abs(guess - corner)
    return (left, up, corner)[distances.index(min(distances))]


def _indexed(rows: list[bytes]) -> tuple[bytes, list[bytes]]:
    counted: Counter[bytes] = Counter()
    for row in rows:
        counted.update(_pixels(row))
    kept = [colour for colour, _ in counted.most_common(MOST_COLOURS)]
    numbers = {colour: number for number, colour in enumerate(kept)}
    for colour in counted:
        if colour not in numbers:
            numbers[colour] = numbers[min(kept, key=lambda other: _distance(colour, other))]
    indexed = [bytes(map(numbers.__getitem__, _pixels(row))) for row in rows]
    return b"".join(kept), indexed


def _pixels(row: bytes) -> Iterator[bytes]:
    return (row[i : i + 3] for i in range(0, len(row), 3))


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
