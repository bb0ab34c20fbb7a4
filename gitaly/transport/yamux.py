"""yamux without I/O: many streams on one connection. Source: hashicorp/yamux, spec.md.

A Session turns received bytes into events and calls into bytes to send. It has no clock: whoever
owns the connection limits how long a stream may wait to be accepted or to be finished.

Choices that the specification leaves open:

- Streams that a peer opens beyond the limits are refused with RST at once. To leave them without
  an answer, as Gitaly does, makes a hashicorp peer end the whole session after 75 seconds, and
  makes us remember them.
- Ids must have the parity of the side that opens; hashicorp's client counts 1, 3, 5… and its
  server 2, 4, 6…, so that no such peer is hurt. Ids may come in any order: two threads of the
  peer may overtake each other between taking an id and sending the SYN.
- Data after the peer's FIN are dropped: a hashicorp writer that races with close() sends them.
"""

from collections.abc import Sequence

from gitaly.transport.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    INITIAL_WINDOW,
    MAX_UINT32,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    VERSION,
    WINDOW_UPDATE,
    CannotOpen,
    DataReceived,
    Event,
    FrameDecoder,
    GoAwayReceived,
    Header,
    Limits,
    PingAnswered,
    ProtocolError,
    StreamAccepted,
    StreamFinished,
    StreamOpened,
    StreamReset,
    WindowOpened,
    pack_header,
)

Buffer = bytes | bytearray | memoryview


class Stream:
    """One stream of a Session; only the Session changes it.

    `send_window` is how many bytes send_data() takes now: 0 before accept() and after finish() or
    a reset. `unread` is how many received bytes consumed() has not been told of.
    """

    __slots__ = (
        "has_finished",
        "id",
        "is_accepted",
        "is_open",
        "peer_has_finished",
        "receive_window",
        "send_window",
        "unread",
    )

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.is_open = True  # False: both sides finished, or one reset it; the session forgot it
        self.is_accepted = False  # the side that did not open it has sent its ACK
        self.has_finished = False
        self.peer_has_finished = False
        self.send_window = 0
        self.receive_window = INITIAL_WINDOW  # what the peer may still send
        self.unread = 0

    def __repr__(self) -> str:
        return f"<Stream {self.id}>"


class Session:
    """Both halves of the protocol for one connection; `is_client` decides whose ids are odd.

    After receive() raised ProtocolError the session is over: send what data_to_send() still has
    (the GoAway), then close the connection. To bound memory, whoever moves the bytes takes from
    data_to_send() only what the socket takes, and stops reading while it takes nothing.
    """

    def __init__(self, is_client: bool, limits: Limits) -> None:
        self._limits = limits
        self._decoder = FrameDecoder()
        self._streams: dict[int, Stream] = {}
        self._own_parity = 1 if is_client else 0
        self._next_id = 1 if is_client else 2
        self._backlog = 0  # streams of the peer that wait for accept()
        self._peer_streams = 0
        self._unacknowledged = 0
        self._payload_of: Stream | None = None  # None: the payload that comes is dropped
        self._fin_after_payload = False
        self._payload_left = 0
        self._went_away = False
        self._peer_went_away = False
        self._failure: ProtocolError | None = None
        self._out: list[Buffer] = []
        self._replies = 0  # frames in _out that the peer made us send

    @property
    def stream_count(self) -> int:
        """Streams of both sides that are open."""
        return len(self._streams)

    @property
    def unacknowledged(self) -> int:
        """Streams that we opened and the peer has not accepted; a peer refuses what exceeds its
        accept backlog (256 in hashicorp's default configuration, at least 1)."""
        return self._unacknowledged

    # What we do

    def data_to_send(self) -> list[Buffer]:
        """Takes everything that waits to be sent, in order, as buffers for sendmsg()."""
        out = self._out
        self._out = []
        self._replies = 0
        return out

    def open_stream(self) -> Stream:
        """A new stream; data may be sent at once. Raises CannotOpen."""
        if self._failure:
            raise CannotOpen("session shutdown")
        if self._peer_went_away:
            raise CannotOpen("remote end is not accepting connections")
        if len(self._streams) >= self._limits.max_streams:
            raise CannotOpen("too many streams")
        if self._next_id > MAX_UINT32:
            raise CannotOpen("streams exhausted")
        stream = Stream(self._next_id)
        stream.send_window = INITIAL_WINDOW
        self._next_id += 2
        self._streams[stream.id] = stream
        self._unacknowledged += 1
        self._grant(stream, SYN)
        return stream

    def accept(self, stream: Stream) -> None:
        """Take a stream of the peer: sends the ACK. Nothing happens if it is over already.

        Raises ValueError for a stream that is ours or accepted.
        """
        if self._is_own(stream) or stream.is_accepted:
            raise ValueError(f"{stream!r} does not wait to be accepted")
        if not stream.is_open:
            return
        stream.is_accepted = True
        stream.send_window += INITIAL_WINDOW
        self._backlog -= 1
        self._grant(stream, ACK)

    def send_data(self, stream: Stream, buffers: Sequence[Buffer], size: int) -> None:
        """Queue one Data frame of `buffers`, uncopied: they must not change until they are sent.

        `size` is the sum of their lengths. Raises ValueError, and queues nothing, if it is not,
        or if it exceeds `stream.send_window`.
        """
        if size > stream.send_window:
            raise ValueError(f"{size} bytes exceed the window of {stream.send_window}")
        if size != sum(map(len, buffers)):
            raise ValueError(f"the buffers do not have {size} bytes")
        if size:
            stream.send_window -= size
            self._out.append(pack_header(VERSION, DATA, 0, stream.id, size))
            self._out += buffers

    def finish(self, stream: Stream) -> None:
        """We send no more on this stream: sends the FIN, the first time, unless it is over.

        Raises ValueError for a stream of the peer that was not accepted.
        """
        if not stream.is_open or stream.has_finished:
            return
        if not (stream.is_accepted or self._is_own(stream)):
            raise ValueError(f"{stream!r} is not accepted")
        stream.has_finished = True
        stream.send_window = 0
        self._send(WINDOW_UPDATE, FIN, stream.id, 0)
        if stream.peer_has_finished:
            self._forget(stream)

    def reset(self, stream: Stream) -> None:
        """Break the stream off, or refuse it: sends RST, unless it is over."""
        if stream.is_open:
            self._send(WINDOW_UPDATE, RST, stream.id, 0)
            self._forget(stream)

    def consumed(self, stream: Stream, size: int) -> None:
        """The application has taken `size` received bytes: lets the peer send more in time.

        Raises ValueError if that is more than it was given.
        """
        if not 0 <= size <= stream.unread:
            raise ValueError(f"{size} bytes consumed of {stream.unread}")
        stream.unread -= size
        if not stream.is_open or stream.peer_has_finished:
            return
        if not (stream.is_accepted or self._is_own(stream)):
            return  # accept() grants it
        if self._grantable(stream) >= self._limits.max_window // 2:
            self._grant(stream, 0)

    def ping(self, opaque: int) -> None:
        """Ask for a PingAnswered with the same 32-bit number."""
        self._send(PING, SYN, 0, opaque)

    def go_away(self, code: int = NORMAL) -> None:
        """Accept no more streams of the peer; open ones go on."""
        self._went_away = True
        self._send(GO_AWAY, 0, 0, code)

    # What the peer does

    def receive(self, data: memoryview) -> list[Event]:
        """What happened in these bytes; `data` must be a view of single bytes.

        Raises ProtocolError for whatever the peer may not do, and for every call after that.
        What came before the error in the same call is dropped: no stream outlives its session.
        """
        if self._failure:
            raise ProtocolError(self._failure.message)
        events: list[Event] = []
        try:
            for item in self._decoder.receive(data):
                if isinstance(item, memoryview):
                    self._payload(item, events)
                else:
                    self._frame(item, events)
        except ProtocolError as error:
            self._failure = error
            self.go_away(PROTOCOL_ERROR)
            raise
        return events

    def _frame(self, header: Header, events: list[Event]) -> None:
        if header.kind == PING:
            self._ping(header, events)
        elif header.kind == GO_AWAY:
            self._peer_went_away = True
            events.append(GoAwayReceived(header.length))
        else:
            self._stream_frame(header, events)

    def _ping(self, header: Header, events: list[Event]) -> None:
        if header.flags & SYN:
            self._reply(PING, ACK, 0, header.length)
        else:
            events.append(PingAnswered(header.length))

    def _stream_frame(self, header: Header, events: list[Event]) -> None:
        if header.flags & SYN:
            self._peer_opens(header.stream_id, events)
        stream = self._streams.get(header.stream_id)
        if stream is not None and header.flags & ACK:
            self._peer_accepts(stream, events)
        if stream is not None and header.flags & RST:
            self._forget(stream)
            events.append(StreamReset(stream))
            stream = None
        if header.kind == DATA:
            self._data_frame(stream, header, events)
        elif stream is not None:
            self._window_update(stream, header, events)

    def _peer_opens(self, stream_id: int, events: list[Event]) -> None:
        if stream_id == 0 or stream_id % 2 == self._own_parity:
            raise ProtocolError(f"yamux: peer may not open stream {stream_id}")
        if stream_id in self._streams:
            raise ProtocolError(f"yamux: stream {stream_id} is open already")
        if self._must_refuse():
            self._reply(WINDOW_UPDATE, RST, stream_id, 0)
            return
        stream = self._streams[stream_id] = Stream(stream_id)
        self._backlog += 1
        self._peer_streams += 1
        events.append(StreamOpened(stream))

    def _must_refuse(self) -> bool:
        return (
            self._went_away
            or self._backlog >= self._limits.accept_backlog
            or self._peer_streams >= self._limits.max_peer_streams
            or len(self._streams) >= self._limits.max_streams
        )

    def _peer_accepts(self, stream: Stream, events: list[Event]) -> None:
        if self._is_own(stream) and not stream.is_accepted:
            stream.is_accepted = True
            self._unacknowledged -= 1
            events.append(StreamAccepted(stream))

    def _window_update(self, stream: Stream, header: Header, events: list[Event]) -> None:
        if header.length and not stream.has_finished:
            stream.send_window += header.length
            if stream.send_window > MAX_UINT32:
                raise ProtocolError(f"yamux: window of stream {stream.id} exceeds 32 bits")
            events.append(WindowOpened(stream))
        if header.flags & FIN:
            self._peer_finishes(stream, events)

    def _data_frame(self, stream: Stream | None, header: Header, events: list[Event]) -> None:
        limit = self._limits.max_frame_size or self._limits.max_window
        if header.length > limit:
            raise ProtocolError(f"yamux: frame of {header.length} bytes exceeds {limit}")
        if stream is None:
            self._payload_of = None
            return
        if header.length > stream.receive_window:
            raise ProtocolError(f"yamux: receive window of stream {stream.id} exceeded")
        self._payload_of = None if stream.peer_has_finished else stream
        self._payload_left = header.length
        self._fin_after_payload = bool(header.flags & FIN)
        if self._fin_after_payload and not (header.length and self._payload_of):
            self._peer_finishes(stream, events)

    def _payload(self, piece: memoryview, events: list[Event]) -> None:
        stream = self._payload_of
        if stream is None or not stream.is_open:
            return
        size = len(piece)
        stream.receive_window -= size
        stream.unread += size
        self._payload_left -= size
        events.append(DataReceived(stream, piece))
        if self._fin_after_payload and not self._payload_left:
            self._peer_finishes(stream, events)

    def _peer_finishes(self, stream: Stream, events: list[Event]) -> None:
        if stream.peer_has_finished:
            raise ProtocolError(f"yamux: second FIN on stream {stream.id}")
        stream.peer_has_finished = True
        events.append(StreamFinished(stream))
        if stream.has_finished:
            self._forget(stream)

    # Bookkeeping

    def _is_own(self, stream: Stream) -> bool:
        return stream.id % 2 == self._own_parity

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.id]
        stream.is_open = False
        stream.send_window = 0
        if self._is_own(stream):
            self._unacknowledged -= not stream.is_accepted
        else:
            self._peer_streams -= 1
            self._backlog -= not stream.is_accepted

    def _grantable(self, stream: Stream) -> int:
        return self._limits.max_window - stream.unread - stream.receive_window

    def _grant(self, stream: Stream, flags: int) -> None:
        delta = self._grantable(stream)
        stream.receive_window += delta
        self._send(WINDOW_UPDATE, flags, stream.id, delta)

    def _reply(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        self._replies += 1
        if self._replies > self._limits.max_pending_replies:
            raise ProtocolError("yamux: peer does not take the answers to its frames")
        self._send(kind, flags, stream_id, length)

    def _send(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        self._out.append(pack_header(VERSION, kind, flags, stream_id, length))
