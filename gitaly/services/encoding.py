"""Fields of messages, encoded by hand where messages of many small parts would cost too much.

Source: https://protobuf.dev/programming-guides/encoding (length-delimited fields).
"""

from typing import Final

_LENGTH_DELIMITED: Final = 2
_SHORT: Final = 128  # a length below fits into one byte
_FEW: Final = 2048


def tag(number: int) -> bytes:
    """What a field of bytes, a string or a message begins with; its number is below 16."""
    return bytes([number << 3 | _LENGTH_DELIMITED])


def number_tag(number: int) -> bytes:
    """What a field of a number or a boolean begins with; its number is below 16."""
    return bytes([number << 3])


def varint(value: int) -> bytes:
    """A number that is not negative."""
    encoded = bytearray()
    while value >= _SHORT:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_LENGTHS: Final = tuple(map(varint, range(_FEW)))


def length(size: int) -> bytes:
    """`varint` of the lengths that most fields have, without computing it."""
    return _LENGTHS[size] if size < _FEW else varint(size)


def field(number: int, data: bytes) -> bytes:
    """A whole field of bytes, of a string, or of an encoded message."""
    return tag(number) + length(len(data)) + data


def number(field_number: int, value: int) -> bytes:
    """A whole field of a number that is not negative, or of a boolean; nothing for 0 and False,
    which a reader assumes."""
    return number_tag(field_number) + length(value) if value else b""
