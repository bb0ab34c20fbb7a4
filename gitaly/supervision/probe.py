"""Asks a listener of ours for its health, as a client would: HTTP/2, spoken by hand.

A gRPC client in the node would share threads and connections with the core that is to be tested,
and cannot be told to accept whatever certificate the listener has. Source: RFC 9113, RFC 7541
(static table), grpc/health/v1.
"""

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
ACK, END_STREAM, END_HEADERS = 1, 1, 4
SERVING: Final = b"\x08\x01"  # HealthCheckResponse{status: SERVING}
EMPTY_MESSAGE: Final = bytes(5)  # HealthCheckRequest{}, framed by gRPC
METHOD: Final = b"/grpc.health.v1.Health/Check"
FRAME_HEAD_BYTES: Final = 9


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
        writer.write(_question())
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


def _question() -> bytes:
    fields = (
        b"\x83\x86"  # :method POST, :scheme http
        + (b"\x04" + _text(METHOD))  # :path
        + (b"\x01" + _text(b"localhost"))  # :authority
        + (b"\x0f\x10" + _text(b"application/grpc"))  # content-type
        + (b"\x00" + _text(b"te") + _text(b"trailers"))
    )
    return b"".join(
        (
            PREFACE,
            _frame(SETTINGS, 0, 0),
            _frame(HEADERS, END_HEADERS, 1, fields),
            _frame(DATA, END_STREAM, 1, EMPTY_MESSAGE),
        )
    )


def _text(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


async def _heard_serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Read until the answer has come, or its end without one."""
    answer = b""
    while True:
        head = await reader.readexactly(FRAME_HEAD_BYTES)
        size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        payload = await reader.readexactly(size)
        if kind == SETTINGS and not flags & ACK:
            writer.write(_frame(SETTINGS, ACK, 0))
        if int.from_bytes(head[5:]) != 1:
            continue
        if kind == DATA:
            answer += payload
            if answer[5:] == SERVING:
                return True
        if kind not in (DATA, HEADERS) or flags & END_STREAM:
            return False
