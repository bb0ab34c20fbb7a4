"""What must hold for yamux whatever the peer, the application and the network do."""

import contextlib
import struct
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gitaly.transport.yamux import Session, Stream
from gitaly.transport.yamux_frames import (
    CannotOpen,
    DataReceived,
    Event,
    Limits,
    ProtocolError,
    StreamFinished,
    StreamOpened,
    StreamReset,
)

LIMITS = Limits(accept_backlog=3, max_peer_streams=5, max_pending_replies=50)


@dataclass
class End:
    """One end of a connection with everything that it sent and received."""

    session: Session
    wire: bytearray = field(default_factory=bytearray)  # sent, not yet delivered
    streams: dict[int, Stream] = field(default_factory=dict)
    sent: dict[int, bytearray] = field(default_factory=dict)
    received: dict[int, bytearray] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    reset: set[int] = field(default_factory=set)

    def flush(self) -> None:
        self.wire += b"".join(self.session.data_to_send())

    def learn(self, stream: Stream) -> None:
        self.streams[stream.id] = stream
        self.sent[stream.id] = bytearray()
        self.received[stream.id] = bytearray()

    def handle(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case StreamOpened(stream):
                    self.learn(stream)
                case DataReceived(stream, data):
                    assert data
                    self.received[stream.id] += data
                case StreamFinished(stream):
                    self.finished.add(stream.id)
                case StreamReset(stream):
                    self.reset.add(stream.id)


class BackToBack(RuleBasedStateMachine):
    """Two sessions that talk to each other never break the protocol and lose nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = [
            End(Session(is_client=True, limits=LIMITS)),
            End(Session(is_client=False, limits=Limits(max_window=1 << 20))),
        ]
        self.filler = 0

    @rule(side=st.integers(0, 1))
    def open_stream(self, side: int) -> None:
        end = self.ends[side]
        with contextlib.suppress(CannotOpen):
            end.learn(end.session.open_stream())

    @precondition(lambda self: any(end.streams for end in self.ends))
    @rule(draw=st.data())
    def act(self, draw: st.DataObject) -> None:
        end = draw.draw(st.sampled_from([end for end in self.ends if end.streams]))
        stream = draw.draw(st.sampled_from(list(end.streams.values())))
        action = draw.draw(st.sampled_from(["send", "send", "send", "consume", "accept", "end"]))
        if action == "send":
            self.send(end, stream, draw.draw(st.floats(0, 1)))
        elif action == "consume":
            end.session.consumed(stream, draw.draw(st.integers(0, stream.unread)))
        elif action == "accept":
            with contextlib.suppress(ValueError):
                end.session.accept(stream)
        elif draw.draw(st.integers(0, 3)):
            with contextlib.suppress(ValueError):
                end.session.finish(stream)
        else:
            end.session.reset(stream)

    def send(self, end: End, stream: Stream, share: float) -> None:
        size = int(stream.send_window * share)
        self.filler += 1
        payload = bytes([self.filler % 256]) * size
        end.session.send_data(stream, [payload[: size // 3], payload[size // 3 :]], size)
        end.sent[stream.id] += payload

    @rule(side=st.integers(0, 1), share=st.floats(0, 1))
    def deliver(self, side: int, share: float) -> None:
        sender, receiver = self.ends[side], self.ends[1 - side]
        sender.flush()
        size = int(len(sender.wire) * share)
        receiver.handle(receiver.session.receive(memoryview(bytes(sender.wire[:size]))))
        del sender.wire[:size]

    @invariant()
    def windows_are_never_exceeded(self) -> None:
        for end, most in zip(self.ends, [262_144, 1 << 20], strict=True):
            for stream in end.streams.values():
                assert stream.send_window >= 0
                assert stream.receive_window >= 0
                assert stream.receive_window + stream.unread <= most

    @invariant()
    def what_arrives_is_what_was_sent(self) -> None:
        for sender, receiver in [self.ends, self.ends[::-1]]:
            for stream_id, got in receiver.received.items():
                assert sender.sent.get(stream_id, b"").startswith(got)

    def teardown(self) -> None:
        for side in [0, 1, 0, 1]:
            self.deliver(side, 1.0)
        for sender, receiver in [self.ends, self.ends[::-1]]:
            for stream_id in receiver.finished:
                assert receiver.received[stream_id] == sender.sent[stream_id]
            broken = sender.reset | receiver.reset
            for stream_id, stream in receiver.streams.items():
                if stream.is_open and stream_id not in broken:
                    assert receiver.received[stream_id] == sender.sent[stream_id]


BackToBack.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_two_sessions_back_to_back_lose_nothing_and_keep_to_the_windows = BackToBack.TestCase

HEADERS = st.builds(
    struct.Struct(">BBHII").pack,
    st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    st.integers(0, 4),
    st.integers(0, 16),
    st.sampled_from([0, 1, 2, 3, 5, 7, 9, 11, 13]),
    st.sampled_from([0, 1, 5, 20, 300, 262_144, 0xFFFF_FFFF]),
)
GARBAGE = st.lists(st.one_of(HEADERS, HEADERS, st.binary(max_size=40)), max_size=60)


@settings(max_examples=1500, deadline=None)
@given(garbage=GARBAGE, chunk=st.integers(1, 200), is_client=st.booleans())
def test_whatever_arrives_raises_at_most_a_protocol_error_and_uses_little_memory(
    garbage: list[bytes], chunk: int, is_client: bool
) -> None:
    session = Session(is_client, LIMITS)
    session.open_stream()
    wire = b"".join(garbage)
    payload = 0
    with contextlib.suppress(ProtocolError):
        for at in range(0, len(wire), chunk):
            events = session.receive(memoryview(wire[at : at + chunk]))
            payload += sum(len(event.data) for event in events if isinstance(event, DataReceived))
            for event in events:
                if isinstance(event, StreamOpened):
                    session.accept(event.stream)
    assert session.stream_count <= 1 + LIMITS.max_peer_streams
    assert payload <= len(wire)
    assert sum(map(len, session.data_to_send())) <= 12 * (50 + 2 + len(wire) // 12)


@settings(max_examples=200, deadline=None)
@given(garbage=GARBAGE, cuts=st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_cuts_change_neither_events_nor_answers(garbage: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(garbage)
    whole, pieces = Session(False, LIMITS), Session(False, LIMITS)
    expected: str | None = None
    got: str | None = None
    try:
        whole.receive(memoryview(wire))
    except ProtocolError as error:
        expected = error.message
    at = 0
    try:
        while at < len(wire):
            for cut in cuts:
                pieces.receive(memoryview(wire[at : at + cut]))
                at += cut
    except ProtocolError as error:
        got = error.message
    assert got == expected
    assert b"".join(pieces.data_to_send()) == b"".join(whole.data_to_send())
