"""One connection on the server's side: bytes in, events and bytes out. No I/O, no clock.

Source: RFC 9113.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from gitaly.transport.http2.fields import (
    MOST_LIST_BYTES,
    FieldDecoder,
    Fields,
    MalformedRequest,
)
from gitaly.transport.http2.frames import (
    DEFAULT_WINDOW,
    HEAD,
    HEAD_BYTES,
    LAST_STREAM,
    MOST_PAYLOAD_BYTES,
    MOST_PAYLOAD_EVER,
    MOST_WINDOW,
    PREFACE,
    ErrorCode,
    Flag,
    Kind,
    ProtocolError,
    Setting,
    StreamError,
    frame,
    goaway_frame,
    settings_frame,
    unpadded,
    window_frame,
)
from gitaly.transport.http2.sending import Sending
from gitaly.transport.http2.streams import (
    Buffer,
    DataReceived,
    Event,
    Malformed,
    Ready,
    Stream,
    StreamDrained,
    StreamOpened,
    StreamReset,
)

STREAM_WINDOW: Final = 1 << 20  # what a peer may send on a stream before somebody has taken it
CONNECTION_WINDOW: Final = 16 << 20
# A block comes in frames of any size, an empty one included; clients need one or two.
MOST_CONTINUATIONS: Final = 256
# A change of settings concerns all streams. Each request allows for another one.
MOST_SETTINGS: Final = 1000
# Streams that we have broken off, and on which the peer still may say something for a while.
MOST_BROKEN_OFF: Final = 1000
DATA, HEADERS = int(Kind.DATA), int(Kind.HEADERS)
END_STREAM, END_HEADERS, ACK = int(Flag.END_STREAM), int(Flag.END_HEADERS), int(Flag.ACK)
PRIORITY: Final = int(Flag.PRIORITY)


class Session:
    """The state of a connection. Whoever sends or receives must pass on `data_to_send()`."""

    def __init__(self, read: Callable[[Fields], Any]) -> None:
        """`read` makes of a request's fields the `head` of its event, or raises
        MalformedRequest."""
        self.streams: dict[int, Stream] = {}
        self.last_stream = 0  # of the peer
        self.received_frames = 0
        self.peer_list_bytes = MOST_LIST_BYTES  # of header fields that the peer takes
        self._decoder = FieldDecoder(read)
        self._rest = b""
        self._has_preface = False
        self._is_ready = False
        self._block: tuple[int, int, bytearray, int] | None = None  # stream, flags, block, frames
        self._sending = Sending()
        self._receive_window = CONNECTION_WINDOW
        self._uncredited = 0
        self._broken_off: dict[int, None] = {}  # the oldest one first
        self._settings_left = MOST_SETTINGS
        self._said_last = LAST_STREAM  # in the last goodbye
        self._is_closing = False  # new streams are refused
        self._events: list[Event] = []
        settings = {
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: MOST_LIST_BYTES,
        }
        self._sending.frame(settings_frame(settings))
        self._sending.frame(window_frame(0, CONNECTION_WINDOW - DEFAULT_WINDOW))

    def data_to_send(self) -> list[Buffer]:
        """What has to go to the peer now, once."""
        return self._sending.take()

    # What comes

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """Raises ProtocolError: send what there is, a `goodbye` included, and end."""
        data = self._rest + data if self._rest else bytes(data)
        at, size = 0, len(data)
        if not self._has_preface:
            at = self._begin(data)
        while size - at >= HEAD_BYTES and self._has_preface:
            high, low, kind, flags, number = HEAD.unpack_from(data, at)
            end = at + HEAD_BYTES + (high << 16 | low)
            if end - at > HEAD_BYTES + MOST_PAYLOAD_BYTES:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
            if end > size:
                break
            self.received_frames += 1
            payload, at = data[at + HEAD_BYTES : end], end
            self._frame(kind, flags, number & MOST_WINDOW, payload)
        self._rest = data[at:]
        return self.take_events()

    def take_events(self) -> list[Event]:
        """What has happened, once; useful where `receive` has raised."""
        events, self._events = self._events, []
        return events

    def _begin(self, data: bytes) -> int:
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        if len(data) < len(PREFACE):
            return 0
        self._has_preface = True
        return len(PREFACE)

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and (kind != Kind.CONTINUATION or number != self._block[0]):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")
        if not self._is_ready and kind != Kind.SETTINGS:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        try:
            if kind == DATA:
                self._data(flags, number, payload)
            elif kind == HEADERS:
                self._headers(flags, number, payload)
            else:
                handler = _HANDLERS.get(kind)
                if handler is not None:  # a frame of an unknown type means nothing
                    handler(self, flags, number, payload)
        except StreamError as error:
            self._fail(number, error)

    def _fail(self, number: int, error: StreamError) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            self.reset(stream, error.code)
            self._events.append(StreamReset(stream, error.code))
        elif number > self.last_stream:  # it is not open yet, and cannot be reset
            raise ProtocolError(error.code, str(error)) from error
        elif number not in self._broken_off:
            self._reset_number(number, error.code)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._receive_window -= size
        if self._receive_window < 0:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        self._credit_connection(size)
        stream = self.streams.get(number)
        if stream is None:
            self._require_known(number)
        if stream is None or stream.is_ended_there:  # or it was on its way when we ended the stream
            raise StreamError(ErrorCode.STREAM_CLOSED, "data after the end")
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise StreamError(ErrorCode.FLOW_CONTROL_ERROR, "more than the stream's window")
        data = unpadded(flags, payload)
        if len(data) < size:
            self.consumed(stream, size - len(data))
        is_end = bool(flags & END_STREAM)
        self._events.append(DataReceived(stream, data, is_end))
        stream.is_ended_there = is_end

    def _require_known(self, number: int) -> None:
        if number > self.last_stream or not number & 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a frame for a stream that never was")

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        block = unpadded(flags, payload)
        if flags & PRIORITY:
            if len(block) < 5:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "no room for a priority")
            if int.from_bytes(block[:4], "big") & MOST_WINDOW == number:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
            block = block[5:]
        if not number & 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a request on a stream of ours")
        if flags & END_HEADERS:
            self._request(number, flags, block)
        else:
            self._block = number, flags, bytearray(block), 0

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, block, frames = self._block
        block += payload
        if len(block) > MOST_LIST_BYTES or frames > MOST_CONTINUATIONS:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "an endless header block")
        self._block = number, first_flags, block, frames + 1
        if flags & END_HEADERS:
            self._block = None
            self._request(number, first_flags, bytes(block))

    def _request(self, number: int, flags: int, block: bytes) -> None:
        is_end = bool(flags & END_STREAM)
        if number <= self.last_stream:
            self._trailers(number, block, is_end=is_end)
            return
        self.last_stream = number
        self._settings_left = min(self._settings_left + 1, MOST_SETTINGS)
        try:
            found = self._decoder.decode(block)
        except MalformedRequest:
            self._reset_number(number, ErrorCode.PROTOCOL_ERROR)
            self._events.append(Malformed(number))
            return
        if self._is_closing:
            self._reset_number(number, ErrorCode.REFUSED_STREAM)
            return
        stream = Stream(number, self._sending.stream_window, STREAM_WINDOW, is_ended_there=is_end)
        self.streams[number] = stream
        self._events.append(StreamOpened(stream, found, is_end))

    def _trailers(self, number: int, block: bytes, *, is_end: bool) -> None:
        fields = self._decoder.fields(block)  # in any case, for the table
        if number in self._broken_off:
            return
        stream = self.streams.get(number)
        if stream is None:
            raise ProtocolError(ErrorCode.STREAM_CLOSED, "header fields after the end")
        if stream.is_ended_there:
            raise StreamError(ErrorCode.STREAM_CLOSED, "header fields after the end")
        if not is_end:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "header fields in the middle")
        if any(name.startswith(b":") for name, _ in fields):
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a request at the end of a request")
        self._events.append(DataReceived(stream, b"", True))
        stream.is_ended_there = True

    def _priority(self, _: int, number: int, payload: bytes) -> None:
        if not number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a priority without a stream")
        if len(payload) != 5:
            raise StreamError(ErrorCode.FRAME_SIZE_ERROR, "a priority of another size")
        if int.from_bytes(payload[:4], "big") & MOST_WINDOW == number:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")

    def _rst_stream(self, _: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a reset of another size")
        stream = self.streams.get(number)
        if stream is None:
            self._require_known(number)
            return
        self._forget(stream)
        code = int.from_bytes(payload, "big")
        known = ErrorCode(code) if code <= max(ErrorCode) else ErrorCode.INTERNAL_ERROR
        self._events.append(StreamReset(stream, known))

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "settings of a stream")
        if len(payload) % 6 or (flags & ACK and payload):
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "settings of another size")
        if flags & ACK:
            return
        self._settings_left -= 1
        if self._settings_left < 0:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "settings without end")
        settings = list(struct.iter_unpack(">HI", payload))
        for key, value in settings:
            _check_setting(key, value)
        # First this: until it comes, the peer counts what we send by the settings of before.
        self._sending.frame(frame(Kind.SETTINGS, ACK, 0))
        self._set(dict(settings))  # of several values, the last one counts
        if not self._is_ready:
            self._is_ready = True
            self._events.append(Ready())

    def _set(self, settings: dict[int, int]) -> None:
        sending = self._sending
        sending.most_payload = settings.get(Setting.MAX_FRAME_SIZE, sending.most_payload)
        self.peer_list_bytes = settings.get(Setting.MAX_HEADER_LIST_SIZE, self.peer_list_bytes)
        window = settings.get(Setting.INITIAL_WINDOW_SIZE, sending.stream_window)
        for stream in sending.widen_all(self.streams.values(), window):
            self._drained(stream)

    def _push_promise(self, *_: object) -> None:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a client promises nothing")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a ping on a stream")
        if len(payload) != 8:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a ping of another size")
        if not flags & ACK:
            self._sending.frame(frame(Kind.PING, ACK, 0, payload))

    def _goaway(self, _: int, number: int, payload: bytes) -> None:
        """The client opens no more streams, and we never do."""
        if number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a goodbye on a stream")
        if len(payload) < 8:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a goodbye is too short")

    def _window_update(self, _: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a window of another size")
        more = int.from_bytes(payload, "big") & MOST_WINDOW
        if not number:
            for drained in self._sending.widen(more):
                self._drained(drained)
            return
        stream = self.streams.get(number)
        if stream is None:
            self._require_known(number)
            return
        if not more:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        if stream.send_window + more > MOST_WINDOW:
            raise StreamError(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
        if self._sending.widen_stream(stream, more):
            self._drained(stream)

    # What goes

    def send_headers(self, stream: Stream, block: bytes) -> None:
        """Fields, before any data."""
        if not stream.is_ended_here:
            self._sending.block(stream, block, 0)

    def send_data(self, stream: Stream, pieces: Sequence[Buffer]) -> None:
        """Bytes of the body; what the windows do not allow waits. Not copied."""
        if not stream.is_ended_here:
            self._sending.data(stream, pieces)

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """The last fields, after all data; none, if the block is empty."""
        if stream.is_ended_here:
            return
        if stream.waiting:
            stream.trailers = block
            return
        if block:
            self._sending.block(stream, block, END_STREAM)
        else:
            self._sending.end(stream)
        self._end_here(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Break it off."""
        if not stream.is_reset and self.streams.get(stream.number) is stream:
            self._forget(stream)
            self._reset_number(stream.number, code)

    def consumed(self, stream: Stream, count: int) -> None:
        """So many bytes of the stream's body need no room any more."""
        stream.uncredited += count
        if stream.uncredited * 2 >= STREAM_WINDOW and not stream.is_ended_there:
            if not stream.is_reset:
                self._sending.frame(window_frame(stream.number, stream.uncredited))
            stream.receive_window += stream.uncredited
            stream.uncredited = 0

    def ping(self) -> None:
        """Ask whether the peer is there; any frame of it is an answer."""
        self._sending.frame(frame(Kind.PING, 0, 0, bytes(8)))

    def goodbye(
        self, *, is_last: bool, code: ErrorCode = ErrorCode.NO_ERROR, text: str = ""
    ) -> None:
        """Have the peer begin no more streams here. With `is_last` those are refused that it
        begins all the same; without, they are served."""
        self._is_closing = self._is_closing or is_last
        if is_last:  # it may not go up again: streams after it have been refused
            self._said_last = min(self._said_last, self.last_stream)
        self._sending.frame(goaway_frame(self._said_last, code, text))

    def _drained(self, stream: Stream) -> None:
        self._events.append(StreamDrained(stream))
        if stream.trailers is not None:
            self.send_trailers(stream, stream.trailers)

    def _credit_connection(self, size: int) -> None:
        """What a stream does not take holds up that stream only: its window is the limit."""
        self._uncredited += size
        if self._uncredited * 2 >= CONNECTION_WINDOW:
            self._sending.frame(window_frame(0, self._uncredited))
            self._receive_window += self._uncredited
            self._uncredited = 0

    def _reset_number(self, number: int, code: ErrorCode) -> None:
        self._broken_off[number] = None
        if len(self._broken_off) > MOST_BROKEN_OFF:
            del self._broken_off[next(iter(self._broken_off))]
        self._sending.frame(frame(Kind.RST_STREAM, 0, number, struct.pack(">I", code)))

    def _end_here(self, stream: Stream) -> None:
        stream.is_ended_here = True
        if stream.is_ended_there:
            self.streams.pop(stream.number, None)
        else:  # the answer is complete: the client need not say the rest
            self.reset(stream, ErrorCode.NO_ERROR)

    def _forget(self, stream: Stream) -> None:
        stream.is_reset = stream.is_ended_here = stream.is_ended_there = True
        self._sending.forget(stream)
        self.streams.pop(stream.number, None)


def _check_setting(key: int, value: int) -> None:
    if key == Setting.ENABLE_PUSH and value > 1:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "neither push nor none")
    if key == Setting.INITIAL_WINDOW_SIZE and value > MOST_WINDOW:
        raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
    if key == Setting.MAX_FRAME_SIZE and not MOST_PAYLOAD_BYTES <= value <= MOST_PAYLOAD_EVER:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "frames of no allowed size")


_HANDLERS: Final[dict[int, Callable[[Session, int, int, bytes], None]]] = {
    Kind.PRIORITY: Session._priority,
    Kind.RST_STREAM: Session._rst_stream,
    Kind.SETTINGS: Session._settings,
    Kind.PUSH_PROMISE: Session._push_promise,
    Kind.PING: Session._ping,
    Kind.GOAWAY: Session._goaway,
    Kind.WINDOW_UPDATE: Session._window_update,
    Kind.CONTINUATION: Session._continuation,
}
