"""The leanest client that can ask a node: what is measured shall be the node.

Blocking sockets and frames made by hand; HTTP/2 without header compression's table, one call at a
time on a connection. A gRPC client in Python would cost more than the node that it measures.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gitaly.transport import pktline
from gitaly.transport.sidechannel import CONFIRMATION, ID, MAGIC

HEADERS: Final = 1
DATA: Final = 0
RST_STREAM: Final = 3
SETTINGS: Final = 4
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
END_STREAM: Final = 1
END_HEADERS: Final = 4
LARGE_WINDOW: Final = 0x7FFF_0000
YAMUX_WINDOW: Final = 262_144  # as Go clients have it


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """One header field, neither compressed nor remembered."""
    return b"\0" + _string(name.encode()) + _string(value.encode())


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    size -= 127
    head = b"\x7f"
    while size >= 128:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + text


PREFACE: Final = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7FFF_FFFF))
    + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGE_WINDOW))
)


def call_frames(stream: int, headers: bytes, message: bytes) -> bytes:
    """A unary call: its headers and its one message."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, END_HEADERS, stream, headers) + frame(DATA, END_STREAM, stream, body)


def headers_of(path: str, metadata: Iterable[tuple[str, str]] = ()) -> bytes:
    """The header block of a call."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "node"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("client_name", "bench"),
        *metadata,
    ]
    return b"".join(literal(name, value) for name, value in fields)


class Http2:
    """One HTTP/2 connection; knows when a call has ended, and answers what must be answered."""

    def __init__(self) -> None:
        self._buffer = b""
        self.next_stream = 1
        self.answer = bytearray()  # data of the current call
        self.trailers = b""

    def start_call(self, headers: bytes, message: bytes) -> bytes:
        """What to send."""
        self.answer.clear()
        self._current, self.next_stream = self.next_stream, self.next_stream + 2
        return call_frames(self._current, headers, message)

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        """What to reply, and whether the call has ended."""
        self._buffer += data
        reply, ended = b"", False
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                break
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big")
            payload, self._buffer = self._buffer[9 : 9 + size], self._buffer[9 + size :]
            if kind in (SETTINGS, PING) and not flags & 1:
                reply += frame(kind, 1, 0, payload if kind == PING else b"")
            elif kind == DATA:
                self.answer += payload
            elif kind == GOAWAY:
                raise SystemExit(f"the server goes away: {payload!r}")
            elif stream == self._current and kind in (HEADERS, RST_STREAM):
                self.trailers = payload
                ended = ended or kind == RST_STREAM or bool(flags & END_STREAM)
        return reply, ended


class Caller:
    """A plain gRPC connection over TCP."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http = Http2()
        self._socket.sendall(PREFACE)

    def call(self, headers: bytes, message: bytes) -> bytes:
        """The answer of a unary call, with its five bytes of framing; empty for an error."""
        self._socket.sendall(self._http.start_call(headers, message))
        while True:
            reply, ended = self._http.receive(self._socket.recv(65536))
            if reply:
                self._socket.sendall(reply)
            if ended:
                return bytes(self._http.answer)

    def hammer(self, headers: bytes, message: bytes, in_flight: int, seconds: float) -> float:
        """Calls a second with so many always in flight."""
        http = Http2Counter()
        first = self._http.next_stream
        self._socket.sendall(
            b"".join(call_frames(first + 2 * n, headers, message) for n in range(in_flight))
        )
        stream, ended, start = first + 2 * in_flight, 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            reply, done = http.receive(self._socket.recv(65536))
            ended += done
            out = [reply, *(call_frames(stream + 2 * n, headers, message) for n in range(done))]
            stream += 2 * done
            self._socket.sendall(b"".join(out))
        return ended / (time.perf_counter() - start)

    def close(self) -> None:
        self._socket.close()


class Http2Counter:
    """Counts calls that end, on a connection where nothing else matters."""

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> tuple[bytes, int]:
        """What to reply, and how many calls have ended."""
        self._buffer += data
        reply, ended, position = b"", 0, 0
        while len(self._buffer) - position >= 9:
            size = int.from_bytes(self._buffer[position : position + 3], "big")
            if len(self._buffer) - position < 9 + size:
                break
            kind, flags = self._buffer[position + 3], self._buffer[position + 4]
            payload = self._buffer[position + 9 : position + 9 + size]
            position += 9 + size
            if kind in (SETTINGS, PING) and not flags & 1:
                reply += frame(kind, 1, 0, payload if kind == PING else b"")
            ended += kind == HEADERS and flags & END_STREAM
        self._buffer = self._buffer[position:]
        return reply, ended


def call_times(port: int, path: str, message: bytes, calls: int, warm: int = 300) -> list[float]:
    """Seconds of each of some calls, one after the other; sorted."""
    caller, headers = Caller(port), headers_of(path)
    for _ in range(warm):
        caller.call(headers, message)
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        answer = caller.call(headers, message)
        times.append(time.perf_counter() - start)
    if not answer:
        raise SystemExit(f"{path} failed")
    caller.close()
    return sorted(times)


class Fetcher:
    """A multiplexed connection on which one SSHUploadPackWithSidechannel runs, drained."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http = Http2()
        self._unread = bytearray()
        self._socket.sendall(b"backchannel" + _yamux(1, 1, 1, 0) + self._on_stream_1(PREFACE))

    def fetch(
        self,
        message: bytes,
        request: bytes,
        pace: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Bytes that came on the sidechannel until the call had ended.

        `pace` is told how many have come so far, and may sleep.
        """
        headers = headers_of(
            "/gitaly.SSHService/SSHUploadPackWithSidechannel", [("gitaly-sidechannel-id", "0")]
        )
        self._socket.sendall(self._on_stream_1(self._http.start_call(headers, message)))
        drain = _Drain(self._http, request)
        buffer = memoryview(bytearray(1 << 20))
        while not drain.ended:
            size = self._socket.recv_into(buffer)
            if not size:
                raise SystemExit("the node closed the connection")
            replies = drain.receive(buffer[:size])
            pace(drain.received)
            if replies:
                self._socket.sendall(replies)
        return drain.received

    def _on_stream_1(self, data: bytes) -> bytes:
        return _data(1, data)

    def close(self) -> None:
        self._socket.close()


class _Drain:
    """Reads a session: answers the sidechannel's greeting, counts and forgets what follows."""

    def __init__(self, http: Http2, request: bytes) -> None:
        self.received = 0
        self.ended = False
        self._http = http
        self._request = request
        self._greeting = b""
        self._unacknowledged = 0
        self._header = b""
        self._left = self._stream = self._sidechannel = 0
        self._replies = bytearray()

    def receive(self, data: memoryview) -> bytes:
        """What to reply."""
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._payload(piece)
                continue
            missing = 12 - len(self._header)
            self._header, data = self._header + bytes(data[:missing]), data[missing:]
            if len(self._header) == 12:
                self._frame(*struct.unpack(">BBHII", self._header))
                self._header = b""
        if self._unacknowledged >= YAMUX_WINDOW // 2:
            self._replies += _yamux(1, 0, self._sidechannel, self._unacknowledged)
            self._unacknowledged = 0
        replies, self._replies = bytes(self._replies), bytearray()
        return replies

    def _frame(self, _: int, kind: int, flags: int, stream: int, length: int) -> None:
        self._left, self._stream = (length, stream) if kind == 0 else (0, stream)
        if flags & 1:
            self._sidechannel = stream
            self._replies += _yamux(1, 2, stream, 0)

    def _payload(self, piece: memoryview) -> None:
        if self._stream == 1:
            reply, ended = self._http.receive(bytes(piece))
            self.ended = self.ended or ended
            self._replies += _data(1, reply) if reply else b""
        elif len(self._greeting) < len(MAGIC) + ID.size:
            self._greeting += piece
            if len(self._greeting) == len(MAGIC) + ID.size:
                self._replies += _data(self._stream, CONFIRMATION + _framed(self._request))
        else:
            self.received += len(piece)
            self._unacknowledged += len(piece)


def _yamux(kind: int, flags: int, stream: int, length: int) -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, length)


def _data(stream: int, data: bytes) -> bytes:
    return _yamux(0, 0, stream, len(data)) + data


def _framed(request: bytes) -> bytes:
    pieces: Sequence[bytes] = [
        request[n : n + pktline.MAX_DATA] for n in range(0, len(request), pktline.MAX_DATA)
    ]
    return b"".join(map(pktline.encode, pieces)) + pktline.FLUSH
