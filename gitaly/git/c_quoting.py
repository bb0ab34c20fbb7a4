r"""Names as git prints those that could be mistaken: in quotes, with the escapes of C.

Source: git, quote.c; git-config(1), core.quotePath.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_ESCAPE: Final = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ODD: Final = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')
_LETTERS: Final[Mapping[bytes, bytes]] = MappingProxyType(
    {
        b"a": b"\a",
        b"b": b"\b",
        b"f": b"\f",
        b"n": b"\n",
        b"r": b"\r",
        b"t": b"\t",
        b"v": b"\v",
        b'"': b'"',
        b"\\": b"\\",
    }
)
_ESCAPES: Final[Mapping[bytes, bytes]] = MappingProxyType(
    {byte: b"\\" + letter for letter, byte in _LETTERS.items()}
)


def c_unquoted(name: bytes) -> bytes:
    """The bytes that a printed name means."""
    if not name.startswith(b'"'):
        return name
    return _ESCAPE.sub(_meant, name[1:-1]) if b"\\" in name else name[1:-1]


def c_quoted(name: bytes) -> bytes:
    """A name as git prints it: as it is, if nothing in it is odd."""
    return c_string(name) if _ODD.search(name) else name


def c_string(name: bytes) -> bytes:
    """A name in quotes in any case."""
    return b'"' + _ODD.sub(_escaped, name) + b'"'


def _meant(found: re.Match[bytes]) -> bytes:
    text = found[1]
    if len(text) == 3:
        return bytes([int(text, 8) & 0xFF])
    return _LETTERS.get(text, text)


def _escaped(found: re.Match[bytes]) -> bytes:
    byte = found[0]
    return _ESCAPES.get(byte) or b"\\%03o" % byte[0]
