"""What goes to the peer, in the order and at the pace that its windows allow. No I/O."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gitaly.transport.http2.fields import EMPTY_TABLE
from gitaly.transport.http2.frames import (
    DEFAULT_WINDOW,
    MOST_PAYLOAD_BYTES,
    MOST_WINDOW,
    ErrorCode,
    Flag,
    Kind,
    ProtocolError,
    frame,
    head,
)
from gitaly.transport.http2.streams import Buffer, Stream

DATA, HEADERS, END_HEADERS = int(Kind.DATA), int(Kind.HEADERS), int(Flag.END_HEADERS)
END_STREAM: Final = int(Flag.END_STREAM)


class Sending:
    """Frames to be sent, and the data that wait for a window."""

    def __init__(self) -> None:
        self.stream_window = DEFAULT_WINDOW  # of new streams
        self.most_payload = MOST_PAYLOAD_BYTES  # of a frame
        self._window = DEFAULT_WINDOW  # of the connection
        # Streams that have a window, and wait for the connection's; the next one first.
        self._turn: dict[int, Stream] = {}
        self._has_sent_block = False
        self._out: list[Buffer] = []

    def take(self) -> list[Buffer]:
        """What has to go now, once."""
        out, self._out = self._out, []
        return out

    def frame(self, whole: bytes) -> None:
        """One that needs no window."""
        self._out.append(whole)

    def block(self, stream: Stream, block: bytes, flags: int) -> None:
        """Header fields, in as many frames as they need."""
        if not self._has_sent_block:
            self._has_sent_block, block = True, EMPTY_TABLE + block
        size = self.most_payload
        if len(block) <= size:
            self._out.append(head(len(block), HEADERS, flags | END_HEADERS, stream.number) + block)
            return
        kind = HEADERS
        for start in range(0, len(block), size):
            piece = block[start : start + size]
            is_last = start + size >= len(block)
            flags = flags | END_HEADERS if is_last else flags
            self._out.append(frame(kind, flags, stream.number, piece))
            kind, flags = Kind.CONTINUATION, 0

    def end(self, stream: Stream) -> None:
        """The end of a stream without last fields."""
        self._out.append(frame(DATA, END_STREAM, stream.number))

    def data(self, stream: Stream, pieces: Sequence[Buffer]) -> None:
        """As far as the windows allow; the rest waits in the stream."""
        stream.queue([piece for piece in pieces if len(piece)])
        if stream.number not in self._turn:
            self._send_waiting(stream)

    def forget(self, stream: Stream) -> None:
        """Nothing of it will be sent."""
        stream.drop()
        self._turn.pop(stream.number, None)

    def widen(self, more: int) -> Iterator[Stream]:
        """The connection's window grows; the streams that wait no more. Raises ProtocolError."""
        self._window += more
        if not more or self._window > MOST_WINDOW:
            code = ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR
            raise ProtocolError(code, "no window of the connection")
        return self._in_turn()

    def widen_stream(self, stream: Stream, more: int) -> bool:
        """Its window grows; whether it waits no more."""
        stream.send_window += more
        if not stream.waiting or stream.number in self._turn:
            return False
        self._send_waiting(stream)
        return not stream.waiting

    def widen_all(self, streams: Iterable[Stream], window: int) -> Iterator[Stream]:
        """All streams get another window to begin with, those included that have begun; those
        that wait no more. Raises ProtocolError."""
        more, self.stream_window = window - self.stream_window, window
        if more:
            for stream in streams:
                stream.send_window += more
                if stream.send_window > MOST_WINDOW:
                    raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
                if stream.waiting and stream.send_window > 0:
                    self._turn.setdefault(stream.number, stream)
        return self._in_turn()

    def _in_turn(self) -> Iterator[Stream]:
        """Each stream sends a frame in turn, so that none of them takes the whole window. Those
        without a window of their own are not looked at: there may be thousands."""
        while self._turn and self._window > 0:
            number = next(iter(self._turn))
            stream = self._turn.pop(number)
            self._send_frame(stream)
            if not stream.waiting:
                yield stream
            elif stream.send_window > 0:
                self._turn[number] = stream

    def _send_waiting(self, stream: Stream) -> None:
        while self._send_frame(stream):
            pass
        if stream.waiting and stream.send_window > 0:
            self._turn[stream.number] = stream

    def _send_frame(self, stream: Stream) -> bool:
        size = min(stream.waiting_bytes, stream.send_window, self._window, self.most_payload)
        if size <= 0:
            return False
        stream.send_window -= size
        self._window -= size
        self._out.append(head(size, DATA, 0, stream.number))
        self._out += stream.take(size)
        return True
