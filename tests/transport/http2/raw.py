"""HTTP/2 by hand: frames as bytes, and a client that may say anything."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gitaly.transport.http2 import encoded
from gitaly.transport.http2.fields import Fields
from gitaly.transport.http2.session import Session
from gitaly.transport.http2.streams import Event, StreamOpened

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
INITIAL_WINDOW, MAX_FRAME, MAX_LIST = 4, 5, 6
REQUEST = encoded(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a/b"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
)


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of RST_STREAM and GOAWAY."""
        return int.from_bytes(self.payload[4:8] if self.kind == GOAWAY else self.payload, "big")

    @property
    def is_end(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = struct.pack(">I", len(payload))[1:]
    return size + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values: int) -> bytes:
    numbers = {"window": INITIAL_WINDOW, "frame": MAX_FRAME, "list": MAX_LIST}
    payload = b"".join(struct.pack(">HI", numbers[name], value) for name, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


def window(stream: int, more: int) -> bytes:
    return frame(WINDOW, 0, stream, struct.pack(">I", more))


def reset(stream: int, code: int = 8) -> bytes:
    return frame(RST, 0, stream, struct.pack(">I", code))


def request(stream: int = 1, block: bytes = REQUEST, *, is_end: bool = False) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if is_end else 0), stream, block)


def data(stream: int, payload: bytes, *, is_end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if is_end else 0, stream, payload)


def message(payload: bytes) -> bytes:
    """As gRPC has it."""
    return b"\0" + struct.pack(">I", len(payload)) + payload


def grpc_request(path: str, *more: tuple[bytes, bytes]) -> bytes:
    """The block of a call."""
    fields: Fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    ]
    return encoded(fields)


HELLO = PREFACE + settings()


def frames(wire: bytes) -> list[Frame]:
    """Whole ones."""
    return list(_frames(wire))


def _frames(wire: bytes) -> Iterator[Frame]:
    at = 0
    while at < len(wire):
        size = int.from_bytes(wire[at : at + 3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", wire, at + 3)
        payload = wire[at + 9 : at + 9 + size]
        assert len(payload) == size
        yield Frame(kind, flags, stream, payload)
        at += 9 + size


def session(hello: bytes = HELLO) -> Session:
    """One that has heard its client's greeting, and has said its own."""
    made = Session(lambda fields: fields)
    made.receive(hello)
    made.data_to_send()
    return made


def said(node: Session) -> list[Frame]:
    """What a session has said since it was asked last."""
    return frames(b"".join(node.data_to_send()))


def opened(events: list[Event]) -> list[StreamOpened]:
    return [event for event in events if isinstance(event, StreamOpened)]


class Raw:
    """A client on a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen: list[Frame] = []

    def say(self, *wire: bytes) -> None:
        self.writer.write(b"".join(wire))

    async def hear(self) -> Frame | None:
        """The next frame; None: the node has closed the connection."""
        async with asyncio.timeout(20):
            try:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        found = Frame(kind, flags, stream, payload)
        self.seen.append(found)
        return found

    async def until(self, condition: Callable[[Frame], bool]) -> Frame:
        """Read on until a frame that is meant."""
        while (found := await self.hear()) is not None:
            if condition(found):
                return found
        raise AssertionError(f"the node has closed the connection after {self.seen[-5:]}")

    async def until_kind(self, kind: int, stream: int = 0) -> Frame:
        return await self.until(lambda found: (found.kind, found.stream) == (kind, stream))

    async def until_end(self, stream: int) -> Frame:
        return await self.until(lambda found: found.stream == stream and found.is_end)

    async def until_closed(self) -> None:
        while await self.hear() is not None:
            pass

    async def settled(self) -> None:
        """The node has read all that was said, and its answers to it are here."""
        self.say(frame(PING, 0, 0, b"settled?"))
        await self.until(lambda found: found.kind == PING and found.payload == b"settled?")


@asynccontextmanager
async def raw_client(address: str, hello: bytes = HELLO) -> AsyncIterator[Raw]:
    """`address`: "unix:PATH" or "HOST:PORT"."""
    if address.startswith("unix:"):
        opening = asyncio.open_unix_connection(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        opening = asyncio.open_connection(host, int(port))
    reader, writer = await opening
    client = Raw(reader, writer)
    client.say(hello)
    try:
        yield client
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
