"""HTTP/2 as a server speaks it, for gRPC: no push, no priorities. Source: RFC 9113, RFC 7541."""

from gitaly.transport.http2.connection import Http2Connection, StreamUser
from gitaly.transport.http2.fields import Fields, MalformedRequest, encoded
from gitaly.transport.http2.frames import ErrorCode
from gitaly.transport.http2.streams import Stream

__all__ = [
    "ErrorCode",
    "Fields",
    "Http2Connection",
    "MalformedRequest",
    "Stream",
    "StreamUser",
    "encoded",
]
