"""A yamux session on a wire, and its streams as wires. The protocol itself is in `yamux`."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from gitaly.transport.mux_sizes import MuxSizes
from gitaly.transport.wire import HIGH_WATER_BYTES, Buffer, Silent, Wire, WireUser
from gitaly.transport.yamux import Session, Stream
from gitaly.transport.yamux_frames import (
    DataReceived,
    Event,
    GoAwayReceived,
    Limits,
    ProtocolError,
    StreamFinished,
    StreamOpened,
    StreamReset,
    WindowOpened,
)

# A peer that does not take the answers to its own frames is read no more when so many bytes wait.
MOST_CONTROL_BACKLOG: Final = 4 * HIGH_WATER_BYTES
# How long a stream that we have finished may stay half-open. Source: hashicorp/yamux, defaults.
CLOSE_SECONDS: Final = 300


class MuxStream:
    """One stream of a session, as a wire of its own. Made by MuxSession only."""

    def __init__(self, session: "MuxSession", stream: Stream, user: WireUser) -> None:
        self.user = user
        self.written_bytes = 0  # since the beginning
        self._session = session
        self._stream = stream
        self._unread: deque[bytes] = deque()  # at most the receive window
        self._waiting: deque[memoryview] = deque()
        self._backlog = 0
        self._reading = False
        self._peer_finished = False
        self._finishing = False
        self._closed = False
        self._lost = False
        self._close_timer: asyncio.TimerHandle | None = None

    @property
    def backlog(self) -> int:
        """Bytes that wait for the peer's window, and what the whole session has waiting."""
        return self._backlog + self._session.wire.backlog

    @property
    def sendable(self) -> int:
        """Bytes that may be written now without waiting anywhere."""
        if self._waiting or self._session.wire.backlog > HIGH_WATER_BYTES:
            return 0
        return self._stream.send_window

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for the peer's window."""
        return bool(self._waiting)

    @property
    def is_told_to_the_end(self) -> bool:
        """Whether all that the peer has to say is here, and somebody has still to read it.

        At a client the end of the connection need not take it away: a node that is replaced has
        nothing else to say, and closes, while the client still writes out a clone.
        """
        return self._peer_finished and not self._finishing

    @property
    def is_lost(self) -> bool:
        """Whether the stream or its session is over."""
        return self._lost

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Send in order; what the peer's window does not allow is copied and waits."""
        if self._lost or self._finishing:
            return
        size = sum(map(len, buffers))
        self.written_bytes += size
        if not self._waiting and size <= self._stream.send_window:
            self._session.send(self._stream, buffers, size)
            return
        self._waiting.extend(memoryview(bytes(buffer)) for buffer in buffers if len(buffer))
        self._backlog += size
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._stream.send_window:
            piece = self._waiting.popleft()
            room = self._stream.send_window
            if len(piece) > room:
                self._waiting.appendleft(piece[room:])
                piece = piece[:room]
            self._backlog -= len(piece)
            self._session.send(self._stream, (piece,), len(piece))
        if self._finishing and not self._waiting:
            self._session.finish_stream(self._stream)

    def pause_reading(self) -> None:
        """Keep what comes here; the window closes, and the peer stops."""
        self._reading = self._finishing

    def resume_reading(self) -> None:
        """Hand on what has come, and what comes."""
        self._reading = True
        while self._unread and self._reading and not self._lost:
            data = self._unread.popleft()
            self._take(memoryview(data))
        if self._unread or not self._reading or self._lost:
            return
        if self._peer_finished:
            self._peer_finished = False
            if not self._finishing:
                self.user.eof_received()
        if self._closed:
            self.lost(None)

    def finish(self) -> None:
        """Send what waits, then FIN. A peer that never answers with its own is cut off later.

        Later, because a reset takes from a hashicorp peer also what it has not read yet.
        """
        if self._lost or self._finishing:
            return
        self._finishing = True
        loop = asyncio.get_running_loop()
        self._close_timer = loop.call_later(CLOSE_SECONDS, self.abort)
        self._send_waiting()
        self.resume_reading()

    def abort(self) -> None:
        """Break the stream off."""
        if not self._lost:
            self._session.reset_stream(self._stream)
            self.lost(None)

    # Called by the session

    def received(self, data: memoryview) -> None:
        """Payload of the peer, valid during this call."""
        if self._reading and not self._unread:
            self._take(data)
        else:
            self._unread.append(bytes(data))

    def _take(self, data: memoryview) -> None:
        self._session.consumed(self._stream, len(data))
        if not self._finishing:
            self.user.bytes_received(data)

    def window_opened(self) -> None:
        """The peer takes more."""
        self._send_waiting()
        self.session_writable()

    def session_writable(self) -> None:
        """There may be room again, in the window or on the connection."""
        if not (self._lost or self._finishing or self._waiting):
            self.user.writable()

    def peer_finished(self) -> None:
        """The peer sends nothing any more."""
        self._peer_finished = True
        if self._reading:
            self.resume_reading()

    def closed(self) -> None:
        """Both sides have finished; what has come and is not read yet can still be read."""
        self._closed = True
        if not self._unread and not self._peer_finished:
            self.lost(None)

    def lost(self, error: Exception | None) -> None:
        """The stream is over."""
        if self._lost:
            return
        self._lost = True
        self._waiting.clear()
        self._unread.clear()
        self._backlog = 0
        if self._close_timer is not None:
            self._close_timer.cancel()
        asyncio.get_running_loop().call_soon(lambda: self.user.wire_lost(error))


class MuxSession:
    """The user of one connection's wire; knows its streams."""

    def __init__(
        self,
        wire: Wire,
        *,
        is_client: bool,
        limits: Limits,
        on_stream: Callable[[MuxStream], None],
        on_end: Callable[[Exception | None], None] = lambda _: None,
        sizes: MuxSizes | None = None,  # None: nobody counts
    ) -> None:
        self.wire = wire
        self._sizes = sizes or MuxSizes()
        self._core = Session(is_client, limits)
        self._is_client = is_client
        self._streams: dict[Stream, MuxStream] = {}
        self._on_stream = on_stream  # the peer has opened a stream: accept() or abort() it
        self._on_end = on_end
        self._receiving = False
        self._finishing = False
        self._lost = False

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return self._lost

    @property
    def is_waiting(self) -> bool:
        """Whether a stream has bytes that wait for the peer's window."""
        return any(mux.is_waiting for mux in self._streams.values())

    def start(self, received: bytes = b"") -> None:
        """Take the wire over; `received` has been read from it already."""
        self.wire.user = self
        if received:
            self.bytes_received(memoryview(received))
        if not self._lost:
            self.wire.resume_reading()

    def open_stream(self, user: WireUser | None = None) -> MuxStream:
        """A new stream of ours. Raises CannotOpen; ConnectionError if the session is over."""
        if self._lost:
            raise ConnectionError("session shutdown")
        stream = self._core.open_stream()
        self._streams[stream] = mux = MuxStream(self, stream, user or Silent())
        self._flush()
        return mux

    def accept(self, mux: MuxStream) -> None:
        """Take a stream that the peer has opened."""
        self._core.accept(mux._stream)  # the two classes are one thing
        self._flush()

    def finish(self) -> None:
        """Close the connection once the peer has everything; without a go-away, as the reference
        does."""
        self._finishing = True
        self._finish_if_nothing_waits()

    def _finish_if_nothing_waits(self) -> None:
        # A finishing wire drops what comes, and with it the windows that streams wait for.
        if self._finishing and not self.is_waiting:
            self.wire.finish()

    def close(self) -> None:
        """Close the connection now."""
        self.wire.abort()
        self.wire_lost(None)

    def send(self, stream: Stream, buffers: Sequence[Buffer], size: int) -> None:
        """One data frame; size is at most the stream's window."""
        self._core.send_data(stream, buffers, size)
        self._write(self._core.data_to_send())  # now: the buffers are only lent to us

    def consumed(self, stream: Stream, size: int) -> None:
        """The user of a stream has taken bytes."""
        self._core.consumed(stream, size)
        self._flush()

    def finish_stream(self, stream: Stream) -> None:
        """Half-close a stream."""
        self._core.finish(stream)
        self._flush()
        self._forget_closed(stream)

    def reset_stream(self, stream: Stream) -> None:
        """Break a stream off."""
        self._core.reset(stream)
        self._streams.pop(stream, None)
        self._flush()
        self._finish_if_nothing_waits()

    # The connection's wire

    def bytes_received(self, data: memoryview) -> None:
        """Take what the peer has sent."""
        self._sizes.read.add(len(data))
        self._receiving = True
        try:
            events = self._core.receive(data)
            for event in events:
                self._happened(event)
        except ProtocolError as error:
            self._write(self._core.data_to_send())
            self.wire.finish()  # the go-away shall arrive, whatever is still on its way to us
            self.wire_lost(error)
            return
        finally:
            self._receiving = False
        self._flush()
        self._finish_if_nothing_waits()
        if self.wire.backlog > MOST_CONTROL_BACKLOG:
            self.wire.pause_reading()

    def _happened(self, event: Event) -> None:
        if isinstance(event, GoAwayReceived):
            if event.code:
                raise ProtocolError(f"yamux: peer went away with code {event.code}")
        elif isinstance(event, StreamOpened):
            mux = self._streams[event.stream] = MuxStream(self, event.stream, Silent())
            self._on_stream(mux)
        elif isinstance(event, DataReceived | WindowOpened | StreamFinished | StreamReset):
            mux_or_none = self._streams.get(event.stream)
            if mux_or_none is not None:
                self._stream_happened(mux_or_none, event)

    def _stream_happened(self, mux: MuxStream, event: Event) -> None:
        if isinstance(event, DataReceived):
            mux.received(event.data)
        elif isinstance(event, WindowOpened):
            mux.window_opened()
        elif isinstance(event, StreamFinished):
            mux.peer_finished()
            self._forget_closed(event.stream)
        elif isinstance(event, StreamReset):
            self._streams.pop(event.stream, None)
            mux.lost(ConnectionResetError("connection reset"))

    def _forget_closed(self, stream: Stream) -> None:
        """Both sides have finished: no callback comes any more but this one."""
        if not stream.is_open:
            mux = self._streams.pop(stream, None)
            if mux is not None:
                mux.closed()

    def writable(self) -> None:
        """The connection takes more: whoever waits may go on."""
        self.wire.resume_reading()
        for mux in list(self._streams.values()):
            mux.session_writable()

    def eof_received(self) -> None:
        """The peer has closed the connection."""
        self.close()

    def wire_lost(self, error: Exception | None) -> None:
        """The connection is gone, and all streams with it."""
        if self._lost:
            return
        self._lost = True
        streams, self._streams = list(self._streams.values()), {}
        for mux in streams:
            if self._is_client and mux.is_told_to_the_end:
                mux.closed()
            else:
                mux.lost(error or ConnectionResetError("session shutdown"))
        self._on_end(error)

    def _flush(self) -> None:
        if not self._receiving:  # while receiving, one write at the end answers everything
            out = self._core.data_to_send()
            if out:  # headers only; thousands of them, if the peer likes
                self._write((b"".join(out),))

    def _write(self, buffers: Sequence[Buffer]) -> None:
        self._sizes.written.add(sum(map(len, buffers)))
        self.wire.write(buffers)
