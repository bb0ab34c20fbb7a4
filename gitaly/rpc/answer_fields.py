"""The header fields of an answer: those before its first message, and those that end it.

Source: gRPC over HTTP/2, Responses.
"""

import base64
from collections.abc import Sequence
from typing import Final

import grpc

from gitaly.rpc.framing import ENCODINGS
from gitaly.transport.http2 import encoded
from gitaly.transport.http2.fields import FIELD_BYTES

Metadata = Sequence[tuple[str, str | bytes]]

_FIRST_FIELDS: Final = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", ",".join(ENCODINGS).encode()),
)
FIRST: Final = encoded(_FIRST_FIELDS)
NOT_GRPC: Final = encoded([(b":status", b"415"), (b"content-type", b"text/plain")])
OK: Final = encoded([(b"grpc-status", b"0")])
SPARE_BYTES: Final = 256
PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}
# What a text in a status may cost at most: each of its bytes becomes three where it is not plain.
LEAST_TEXT_BYTES: Final = 64


def last(code: grpc.StatusCode, message: str, metadata: Metadata, most_bytes: int) -> bytes:
    """The block of fields that ends an answer.

    `most_bytes`: what the client takes. What is more is left out, first the metadata with the
    longest values, then the end of the message: a client that gets more sees no status at all.
    """
    if code is grpc.StatusCode.OK and not metadata:
        return OK
    number: int = code.value[0]
    fields = [(b"grpc-status", b"%d" % number)]
    extra = [(key.encode(), _value(value)) for key, value in metadata]
    text = percent_encoded(message)
    room = most_bytes - SPARE_BYTES
    while extra and _size(fields + extra) + min(len(text), room // 2) > room:
        extra.remove(max(extra, key=lambda field: len(field[1])))
    if text:
        most_text = max(LEAST_TEXT_BYTES, room - _size(fields + extra))
        fields.append((b"grpc-message", cut(text, most_text)))
    return encoded(fields + extra)


def only(block: bytes) -> bytes:
    """The fields of an answer without a message: `block` ends it."""
    return FIRST + block


def percent_encoded(message: str) -> bytes:
    """The text of a status, as it may stand in a field."""
    try:
        raw = message.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a call must not stay without its status because of a text
        raw = message.encode("utf-8", "surrogatepass")
    if raw.isascii() and raw.decode().isprintable() and b"%" not in raw:
        return raw
    return b"".join(bytes((byte,)) if byte in PLAIN else b"%%%02X" % byte for byte in raw)


def cut(text: bytes, most_bytes: int) -> bytes:
    """An encoded text without what is too much, and without half of an encoded byte."""
    if len(text) <= most_bytes:
        return text
    text = text[:most_bytes]
    return text[: text.rfind(b"%")] if b"%" in text[-2:] else text


def _value(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return base64.b64encode(value).rstrip(b"=")
    return value.encode("latin-1", "replace")


def _size(fields: Sequence[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + FIELD_BYTES for name, value in fields)
