"""Frames, and sessions in the states that yamux tests begin with."""

import struct

from gitaly.transport.yamux import Session, Stream
from gitaly.transport.yamux_frames import (
    NODE_LIMITS,
    DataReceived,
    Event,
    Limits,
    StreamOpened,
)

KIB = 1024
OPEN_1 = bytes.fromhex("00 01 0001 00000001 00000000")
ACK_1 = bytes.fromhex("00 01 0002 00000001 00000000")
FIN_1 = bytes.fromhex("00 01 0004 00000001 00000000")
RST_1 = bytes.fromhex("00 01 0008 00000001 00000000")
GO_AWAY_PROTOCOL_ERROR = bytes.fromhex("00 03 0000 00000000 00000001")


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BBHII", 0, 0, flags, stream_id, len(payload)) + payload


def node() -> Session:
    return Session(is_client=False, limits=NODE_LIMITS)


def client(limits: Limits | None = None) -> Session:
    return Session(is_client=True, limits=limits or Limits())


def received(session: Session, wire: bytes) -> list[Event]:
    return session.receive(memoryview(wire))


def sent(session: Session) -> bytes:
    return b"".join(session.data_to_send())


def node_with_stream(limits: Limits = NODE_LIMITS) -> tuple[Session, Stream]:
    session = Session(is_client=False, limits=limits)
    [opened] = received(session, OPEN_1)
    assert isinstance(opened, StreamOpened)
    session.accept(opened.stream)
    session.data_to_send()
    return session, opened.stream


def client_with_stream(limits: Limits | None = None) -> tuple[Session, Stream]:
    session = client(limits)
    stream = session.open_stream()
    session.data_to_send()
    return session, stream


def payload_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, DataReceived))
