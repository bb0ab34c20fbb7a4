"""Asks a listener of ours for its health, as a client would: HTTP/2, frame by frame.

A gRPC client in the node would have threads of its own, and cannot be told to accept whatever
certificate the listener has. Source: RFC 9113, grpc/health/v1.
"""

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gitaly.transport.http2 import encoded
from gitaly.transport.http2.frames import HEAD, PREFACE, Flag, Kind, frame

SERVING: Final = b"\x08\x01"  # HealthCheckResponse{status: SERVING}
EMPTY_MESSAGE: Final = bytes(5)  # HealthCheckRequest{}, framed by gRPC
METHOD: Final = b"/grpc.health.v1.Health/Check"
REQUEST: Final = encoded(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", METHOD),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
)
QUESTION: Final = (
    PREFACE
    + frame(Kind.SETTINGS, 0, 0)
    + frame(Kind.HEADERS, Flag.END_HEADERS, 1, REQUEST)
    + frame(Kind.DATA, Flag.END_STREAM, 1, EMPTY_MESSAGE)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to knock."""

    # The path of a unix socket, host and port, or a connected socket, which is used up.
    where: str | tuple[str, int] | socket.socket
    has_tls: bool = False

    @classmethod
    def of(cls, listening: socket.socket, *, has_tls: bool = False) -> "Door":
        """That of a listening socket, seen from this machine."""
        name = listening.getsockname()
        if listening.family == socket.AF_UNIX:
            return cls(where=os.fsdecode(name))
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name[0], name[0])  # noqa: S104 - a key
        return cls(where=(host, name[1]), has_tls=has_tls)


async def is_serving(door: Door) -> bool:
    """Whether somebody answers there, and says that he serves. False as soon as anything fails."""
    try:
        reader, writer = await _connected(door)
    except OSError:
        return False
    try:
        writer.write(QUESTION)
        return await _heard_serving(reader, writer)
    except (OSError, EOFError):
        return False
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _connected(door: Door) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(door.where, str):
        return await asyncio.open_unix_connection(door.where)
    if isinstance(door.where, socket.socket):
        return await asyncio.open_unix_connection(sock=door.where)
    host, port = door.where
    return await asyncio.open_connection(host, port, ssl=_trusting() if door.has_tls else None)


def _trusting() -> ssl.SSLContext:
    """We know whom we ask; whether others trust the certificate is not the question."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


async def _heard_serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Read until the answer has come, or its end without one."""
    answer = b""
    while True:
        high, low, kind, flags, stream = HEAD.unpack(await reader.readexactly(HEAD.size))
        payload = await reader.readexactly(high << 16 | low)
        if kind == Kind.SETTINGS and not flags & Flag.ACK:
            writer.write(frame(Kind.SETTINGS, Flag.ACK, 0))
        if stream != 1:
            continue
        if kind == Kind.DATA:
            answer += payload
            if answer[5:] == SERVING:
                return True
        if kind not in (Kind.DATA, Kind.HEADERS) or flags & Flag.END_STREAM:
            return False
