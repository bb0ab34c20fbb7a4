"""What the header fields of a request say about a call."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gitaly.transport.http2 import Fields, MalformedRequest
from gitaly.transport.http2.fields import require_request

# Source: gRPC over HTTP/2, Requests.
CONTENT_TYPE: Final = re.compile(rb"application/grpc(?:[+;].*)?", re.DOTALL)
TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
UNIT_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# Not metadata: they are gRPC's own, or HTTP's.
OWN: Final = frozenset(
    {b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """The beginning of a call."""

    path: str
    is_grpc: bool  # else it is another HTTP request
    timeout_seconds: float | None
    encoding: str  # of messages
    metadata: Mapping[str, str]  # the first value of each key; binary values are left out
    all_metadata: Sequence[tuple[str, str | bytes]]


def read_head(fields: Fields) -> RequestHead:
    """Raises MalformedRequest."""
    require_request(fields)
    path, method, content_type, encoding = "", b"", b"", b"identity"
    timeout: float | None = None
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name == b":path":
            path = value.decode("latin-1")
        elif name == b":method":
            method = value
        elif name == b"content-type":
            content_type = value
        elif name == b"grpc-timeout":
            timeout = _seconds(value)
        elif name == b"grpc-encoding":
            encoding = value
        elif not name.startswith(b":") and name not in OWN:
            metadata += _metadata(name, value)
    return RequestHead(
        path=path,
        is_grpc=method == b"POST" and CONTENT_TYPE.fullmatch(content_type) is not None,
        timeout_seconds=timeout,
        encoding=encoding.decode("latin-1"),
        metadata={k: v for k, v in reversed(metadata) if isinstance(v, str)},
        all_metadata=tuple(metadata),
    )


def _seconds(value: bytes) -> float:
    found = TIMEOUT.fullmatch(value)
    if found is None:
        raise MalformedRequest("a timeout that is none")
    return int(found[1]) * UNIT_SECONDS[found[2]]


def _metadata(name: bytes, value: bytes) -> list[tuple[str, str | bytes]]:
    key = name.decode("latin-1")
    if not key.endswith("-bin"):
        return [(key, value.decode("latin-1"))]
    try:  # several values may stand in one field
        return [(key, _binary(each)) for each in value.split(b",")]
    except binascii.Error as error:
        raise MalformedRequest("a binary value that is none") from error


def _binary(value: bytes) -> bytes:
    value = value.strip()
    return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
