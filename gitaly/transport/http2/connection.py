"""A session on a wire: what comes is told to the users of its streams, what they say goes out."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from gitaly.transport.http2.fields import Fields
from gitaly.transport.http2.frames import ErrorCode, ProtocolError
from gitaly.transport.http2.session import Session
from gitaly.transport.http2.streams import (
    Buffer,
    DataReceived,
    Malformed,
    Ready,
    Stream,
    StreamDrained,
    StreamOpened,
    StreamReset,
)
from gitaly.transport.wire import HIGH_WATER_BYTES, Wire

# A peer that does not take the answers to its pings and settings is read no more.
MOST_BACKLOG: Final = 4 * HIGH_WATER_BYTES
# A client that says nothing for so long is asked whether it is there, and has so long to answer.
# Source of the values: Gitaly, internal/gitaly/server/server.go.
KEEPALIVE_SECONDS: Final = 300.0
KEEPALIVE_TIMEOUT_SECONDS: Final = 20.0


class StreamUser(Protocol):
    """Who is told what happens on a stream."""

    def data_received(self, data: bytes, *, is_end: bool) -> None:
        """Some of the request's body."""

    def stream_lost(self) -> None:
        """The peer has broken it off, or is gone; called at most once, and nothing after it."""

    def stream_writable(self) -> None:
        """What was sent is on its way, and there is room for more."""


class Http2Connection:
    """The user of a wire on which a client speaks HTTP/2."""

    def __init__(
        self,
        wire: Wire,
        *,
        read: Callable[[Fields], Any],
        begin: Callable[["Http2Connection", Stream, Any], StreamUser],
        on_ready: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`read` makes of a request's fields its head; `begin` makes of that who serves it."""
        self._wire = wire
        self._session = Session(read)
        self._begin = begin
        self._on_ready = on_ready
        self._on_end = on_end
        self._is_ended = False
        self._is_leaving = False
        self._loop = asyncio.get_running_loop()
        self._seen_frames = 0
        self._timer = self._loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)
        self._waiters: set[Stream] = set()  # they wait for the wire

    def start(self, received: bytes = b"") -> None:
        """Take the wire over; `received` has been read from it already."""
        self._wire.user = self
        self.flush()
        if received:
            self.bytes_received(memoryview(received))
        self._wire.resume_reading()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer here."""
        return not self._session.streams

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._is_ended

    # The user of the wire

    def bytes_received(self, data: memoryview) -> None:
        try:
            events = self._session.receive(data)
        except ProtocolError as error:
            for event in self._session.take_events():
                if isinstance(event, StreamReset):  # `end` does not find those any more
                    self._lose(event.stream)
            self._session.goodbye(is_last=True, code=error.code, text=str(error))
            self.flush()
            self.end()
            return
        for event in events:
            self._dispatch(event)
        self.flush()
        if self._wire.backlog > MOST_BACKLOG:
            self._wire.pause_reading()
        if self._is_leaving and self.is_idle:
            self.end()

    def _dispatch(self, event: object) -> None:
        kind = type(event)
        if kind is StreamOpened:
            assert isinstance(event, StreamOpened)
            stream = event.stream
            stream.user = self._begin(self, stream, event.head)
            if event.is_end:
                stream.user.data_received(b"", is_end=True)
        elif kind is DataReceived:
            assert isinstance(event, DataReceived)
            if event.stream.user is not None:
                event.stream.user.data_received(event.data, is_end=event.is_end)
        elif kind is StreamReset:
            assert isinstance(event, StreamReset)
            self._lose(event.stream)
        elif kind is StreamDrained:
            assert isinstance(event, StreamDrained)
            self._writable(event.stream)
        elif kind is Ready:
            self._on_ready()
        else:
            assert kind is Malformed

    def _writable(self, stream: Stream) -> None:
        if self._wire.backlog > HIGH_WATER_BYTES:
            self._waiters.add(stream)
        elif stream.user is not None:
            stream.user.stream_writable()

    def _lose(self, stream: Stream) -> None:
        self._waiters.discard(stream)
        user, stream.user = stream.user, None
        if user is not None:
            user.stream_lost()

    def eof_received(self) -> None:
        self.end()

    def writable(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for stream in waiters:
            if not stream.waiting and stream.user is not None:
                stream.user.stream_writable()
        self._wire.resume_reading()

    def wire_lost(self, _: Exception | None) -> None:
        self.end()

    # What the users of streams do

    def send_headers(self, stream: Stream, block: bytes) -> None:
        """The first fields of the answer; they go with the next `flush`."""
        self._session.send_headers(stream, block)

    def send_data(self, stream: Stream, pieces: Sequence[Buffer]) -> None:
        """Some of its body; goes with the next `flush`, as far as the peer's windows allow."""
        self._session.send_data(stream, pieces)

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """The last fields, which may be all there is; they go with a `flush`, after all data."""
        self._session.send_trailers(stream, block)

    def flush(self) -> None:
        """Put on the wire what was sent."""
        out = self._session.data_to_send()
        if out:
            self._wire.write(out)

    def must_wait(self, stream: Stream) -> bool:
        """Whether to wait for `stream_writable` before more is sent."""
        if stream.waiting:
            return True
        if self._wire.backlog > HIGH_WATER_BYTES:
            self._waiters.add(stream)
            return True
        return False

    def consumed(self, stream: Stream, count: int) -> None:
        """Bytes of the body need no room any more: the peer may send others."""
        self._session.consumed(stream, count)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Break a stream off; its user is not told."""
        stream.user = None
        self._session.reset(stream, code)
        self.flush()

    def settled(self, stream: Stream) -> None:
        """Its answer has been given to the last."""
        stream.user = None
        self._waiters.discard(stream)
        if self._is_leaving and self.is_idle:
            self.end()

    @property
    def peer_list_bytes(self) -> int:
        """How many bytes of fields the peer takes at once."""
        return self._session.peer_list_bytes

    # Its end

    def say_goodbye(self) -> None:
        """Have the client begin no more calls here; those that it has begun are served, and those
        that are on their way."""
        if not self._is_ended:
            self._session.goodbye(is_last=False)
            self.flush()

    def leave(self) -> None:
        """Take no more calls; end as soon as the last one has its answer."""
        if self._is_ended or self._is_leaving:
            return
        self._is_leaving = True
        self._session.goodbye(is_last=True)
        self.flush()
        if self.is_idle:
            self.end()

    def end(self) -> None:
        """Send what is said already, then close. Whoever waits for an answer gets none."""
        if self._is_ended:
            return
        self._is_ended = True
        self._timer.cancel()
        for stream in list(self._session.streams.values()):
            self._lose(stream)
        self._wire.finish()
        self._on_end()

    def _keep_alive(self) -> None:
        seen = self._session.received_frames
        if seen != self._seen_frames:
            self._seen_frames = seen
            self._timer = self._loop.call_later(KEEPALIVE_SECONDS, self._keep_alive)
            return
        self._session.ping()
        self.flush()
        self._timer = self._loop.call_later(KEEPALIVE_TIMEOUT_SECONDS, self._give_up, seen)

    def _give_up(self, seen: int) -> None:
        if self._session.received_frames == seen:
            self._wire.abort()
            self.end()
        else:
            self._keep_alive()
