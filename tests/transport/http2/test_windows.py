"""Flow control, both ways: nothing is sent without a window, and nothing is lost or reordered."""

import struct
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gitaly.transport.http2 import ErrorCode, Stream
from gitaly.transport.http2.frames import ProtocolError
from gitaly.transport.http2.session import CONNECTION_WINDOW, STREAM_WINDOW, Session
from gitaly.transport.http2.streams import StreamDrained, StreamReset
from tests.transport.http2.raw import (
    DATA,
    HEADERS,
    PADDED,
    PREFACE,
    RST,
    SETTINGS,
    WINDOW,
    Frame,
    data,
    frame,
    opened,
    request,
    reset,
    said,
    session,
    settings,
    window,
)

MIB = 1 << 20


def with_streams(count: int, *, first_window: int = 65_535) -> tuple[Session, list[Stream]]:
    node = session(PREFACE + settings(window=first_window))
    events = node.receive(b"".join(request(2 * n + 1, is_end=True) for n in range(count)))
    return node, [event.stream for event in opened(events)]


def sizes(found: list[Frame]) -> list[tuple[int, int]]:
    """Streams and sizes of frames with data."""
    return [(f.stream, len(f.payload)) for f in found if f.kind == DATA]


# What we send


def test_data_go_as_far_as_the_window_of_the_stream() -> None:
    node, [stream] = with_streams(1, first_window=20_000)
    node.send_data(stream, (bytes(50_000),))
    assert sizes(said(node)) == [(1, 16_384), (1, 3_616)]
    assert stream.waiting_bytes == 30_000
    assert node.receive(window(1, 10_000)) == []
    assert sizes(said(node)) == [(1, 10_000)]
    [event] = node.receive(window(1, 30_000))
    assert isinstance(event, StreamDrained)
    assert sizes(said(node)) == [(1, 16_384), (1, 3_616)]


def test_data_go_as_far_as_the_window_of_the_connection() -> None:
    node, [one, two] = with_streams(2, first_window=MIB)
    node.send_data(one, (bytes(60_000),))
    node.send_data(two, (bytes(60_000),))
    assert sum(size for _, size in sizes(said(node))) == 65_535
    [event] = node.receive(window(0, 60_000))
    assert isinstance(event, StreamDrained)
    assert sum(size for _, size in sizes(said(node))) == 54_465


def test_frames_are_as_large_as_the_peer_takes_them() -> None:
    node = session(PREFACE + settings(window=MIB, frame=30_000))
    [event] = opened(node.receive(request(1, is_end=True)))
    node.send_data(event.stream, (bytes(40_000),))
    assert sizes(said(node)) == [(1, 30_000), (1, 10_000)]


def test_a_window_may_become_negative_and_has_to_grow_from_there() -> None:
    node, [stream] = with_streams(1, first_window=30_000)
    node.send_data(stream, (bytes(40_000),))
    node.data_to_send()
    node.receive(settings(window=10_000))
    assert stream.send_window == -20_000
    node.receive(window(1, 20_000))
    assert sizes(said(node)) == []
    node.receive(window(1, 1))
    assert sizes(said(node)) == [(1, 1)]


def test_settings_open_the_windows_of_streams_that_wait() -> None:
    node, [one, two] = with_streams(2, first_window=0)
    node.send_data(one, (b"hello",))
    node.send_data(two, (b"world",))
    assert sizes(said(node)) == []
    events = node.receive(settings(window=5))
    assert [type(event) for event in events] == [StreamDrained] * 2
    assert sizes(said(node)) == [(1, 5), (3, 5)]


def test_data_for_a_window_that_settings_have_opened_come_after_the_answer_to_them() -> None:
    node, [stream] = with_streams(1, first_window=0)
    node.send_data(stream, (b"hello",))
    node.receive(settings(window=5))
    assert [f.kind for f in said(node)] == [SETTINGS, DATA]


def test_of_two_values_in_one_frame_the_last_one_counts() -> None:
    node, [stream] = with_streams(1, first_window=0)
    node.send_data(stream, (bytes(100),))
    payload = struct.pack(">HIHI", 4, 50, 4, 10)
    node.receive(frame(4, 0, 0, payload))
    assert sizes(said(node)) == [(1, 10)]


def test_streams_that_wait_for_the_connection_take_turns() -> None:
    node, streams = with_streams(3, first_window=MIB)
    for stream in streams:
        node.send_data(stream, (bytes(100_000),))
    node.data_to_send()  # the first one has taken the whole window of the connection
    order: list[int] = []
    for _ in range(6):
        node.receive(window(0, 16_384))
        order += [stream for stream, _ in sizes(said(node))]
    assert order == [1, 3, 5, 1, 3, 5]


def test_a_stream_without_a_window_does_not_hold_up_the_others() -> None:
    node, [one, two] = with_streams(2, first_window=0)
    node.send_data(one, (b"first",))
    node.send_data(two, (b"second",))
    node.receive(window(3, 100))
    assert sizes(said(node)) == [(3, 6)]


def test_trailers_wait_for_the_data_before_them() -> None:
    node, [stream] = with_streams(1, first_window=3)
    node.send_data(stream, (b"hello",))
    node.send_trailers(stream, b"block")
    assert sizes(said(node)) == [(1, 3)]
    node.receive(window(1, 100))
    last = said(node)
    assert [(f.kind, f.is_end) for f in last] == [(DATA, False), (HEADERS, True)]
    assert node.streams == {}


def test_a_reset_frees_what_waits() -> None:
    node, [stream] = with_streams(1, first_window=3)
    node.send_data(stream, (bytes(MIB),))
    node.send_trailers(stream, b"block")
    node.data_to_send()
    node.receive(reset(1))
    assert (stream.waiting_bytes, len(stream.waiting), stream.trailers) == (0, 0, None)
    node.receive(window(1, 100) + window(0, 100))
    assert said(node) == []


def test_a_stream_that_is_reset_while_it_waits_for_the_connection_loses_its_turn() -> None:
    node, [one, two] = with_streams(2, first_window=MIB)
    node.send_data(one, (bytes(100_000),))
    node.send_data(two, (b"hello",))
    node.data_to_send()
    node.receive(reset(1) + window(0, 5))
    assert sizes(said(node)) == [(3, 5)]


def test_buffers_are_handed_on_uncopied() -> None:
    node, [stream] = with_streams(1)
    large = bytes(10_000)
    node.send_data(stream, (b"head", large))
    assert any(buffer is large for buffer in node.data_to_send())


@pytest.mark.timeout(20)
def test_ten_thousand_streams_that_wait_cost_a_window_of_the_connection_nothing() -> None:
    node, streams = with_streams(10_000, first_window=0)
    for stream in streams:
        node.send_data(stream, (b"hello",))
    node.receive(window(0, 1) * 20_000)
    node.receive(settings(window=0) * 20 + window(streams[-1].number, 5))
    assert sizes(said(node)) == [(streams[-1].number, 5)]


def test_windows_of_one_byte_send_one_byte_each() -> None:
    node, [stream] = with_streams(1, first_window=0)
    node.send_data(stream, (bytes(range(200)), b"x" * 200))
    node.receive(window(1, 1) * 400)
    sent = said(node)
    assert sizes(sent) == [(1, 1)] * 400
    assert b"".join(f.payload for f in sent) == bytes(range(200)) + b"x" * 200


# What we receive


def test_the_peer_may_go_on_when_half_of_a_stream_is_consumed() -> None:
    node = session()
    [event] = opened(node.receive(request(1)))
    half = STREAM_WINDOW // 2
    node.receive(b"".join(data(1, bytes(16_384)) for _ in range(32)))
    node.consumed(event.stream, half - 1)
    assert said(node) == []
    node.consumed(event.stream, 1)
    assert said(node) == [Frame(WINDOW, 0, 1, struct.pack(">I", half))]


def test_more_than_the_window_of_a_stream_resets_it() -> None:
    node = session()
    node.receive(request(1) + b"".join(data(1, bytes(16_384)) for _ in range(64)))
    node.data_to_send()
    [event] = node.receive(data(1, b"x"))
    assert isinstance(event, StreamReset)
    assert [(f.kind, f.code) for f in said(node)] == [(RST, ErrorCode.FLOW_CONTROL_ERROR)]


def test_the_window_of_the_connection_is_given_back_though_nobody_reads_a_stream() -> None:
    node = session()
    wire = b""
    for stream in range(1, 21, 2):
        wire += request(stream) + b"".join(data(stream, bytes(16_384)) for _ in range(64))
    node.receive(wire)
    more = [f for f in said(node) if f.kind == WINDOW]
    assert {f.stream for f in more} == {0}
    assert sum(f.code for f in more) >= CONNECTION_WINDOW // 2


def test_padding_is_given_back_to_the_stream() -> None:
    node = session()
    node.receive(request(1))
    padded = frame(DATA, PADDED, 1, b"\xff" + bytes(255))
    node.receive(padded * (STREAM_WINDOW // 256 + 1000))
    assert [f.kind for f in said(node)].count(RST) == 0


def test_data_that_nobody_wants_count_for_the_connection() -> None:
    node = session()
    [event] = opened(node.receive(request(1)))
    node.reset(event.stream, ErrorCode.CANCEL)
    node.data_to_send()
    for _ in range(CONNECTION_WINDOW * 2 // 16_384):
        node.receive(data(1, bytes(16_384)))
    assert sum(f.code for f in said(node) if f.kind == WINDOW) == CONNECTION_WINDOW * 2


# Whatever happens


@dataclass
class Told:
    """What a client knows of a stream of its own."""

    window: int
    got: bytearray = field(default_factory=bytearray)
    is_over: bool = False
    is_reset: bool = False


class Client(RuleBasedStateMachine):
    """A client that opens and shuts windows as it likes gets what was sent, within its windows."""

    def __init__(self) -> None:
        super().__init__()
        self.first_window = 100
        self.node, [used] = with_streams(1)  # so that little of the connection's window is left
        self.node.send_data(used, (bytes(65_300),))
        self.node.receive(reset(1) + settings(window=100))
        self.node.data_to_send()
        self.connection = 235
        self.streams: dict[int, Stream] = {}
        self.told: dict[int, Told] = {}
        self.sent: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: set[int] = set()
        self.byte = 0

    def hear(self) -> None:
        for found in said(self.node):
            told = self.told.get(found.stream)
            if told is None or found.kind not in (DATA, HEADERS):
                continue
            assert not told.is_over
            if found.kind == DATA:
                told.got += found.payload
                told.window -= len(found.payload)
                self.connection -= len(found.payload)
                assert told.window >= 0
                assert self.connection >= 0
            told.is_over = found.is_end

    def say(self, wire: bytes) -> None:
        for event in self.node.receive(wire):
            if isinstance(event, StreamDrained):
                assert not event.stream.waiting
        self.hear()

    @rule()
    def ask(self) -> None:
        number = self.node.last_stream + 2
        [event] = opened(self.node.receive(request(number, is_end=True)))
        self.streams[number] = event.stream
        self.told[number] = Told(self.first_window)

    @precondition(lambda self: self.streams)
    @rule(pick=st.integers(0), pieces=st.lists(st.integers(0, 400), max_size=4))
    def answer(self, pick: int, pieces: list[int]) -> None:
        number = list(self.streams)[pick % len(self.streams)]
        if number in self.ended or self.told[number].is_reset:
            return
        buffers = []
        for size in pieces:
            self.byte = (self.byte + 1) % 256
            buffers.append(bytes([self.byte]) * size)
            self.sent[number] += buffers[-1]
        self.node.send_data(self.streams[number], buffers)
        self.hear()

    @precondition(lambda self: self.streams)
    @rule(pick=st.integers(0))
    def end(self, pick: int) -> None:
        number = list(self.streams)[pick % len(self.streams)]
        if number not in self.ended:
            self.ended.add(number)
            self.node.send_trailers(self.streams[number], b"block")
            self.hear()

    @precondition(lambda self: self.streams)
    @rule(pick=st.integers(0), more=st.integers(1, 500))
    def open_window(self, pick: int, more: int) -> None:
        number = list(self.streams)[pick % len(self.streams)]
        self.told[number].window += more
        self.say(window(number, more))

    @rule(more=st.integers(1, 2000))
    def open_connection(self, more: int) -> None:
        self.connection += more
        self.say(window(0, more))

    @rule(size=st.integers(0, 1000))
    def change_settings(self, size: int) -> None:
        for told in self.told.values():
            told.window += size - self.first_window
        self.first_window = size
        negative = {n for n, told in self.told.items() if told.window < 0}
        before = {n: len(self.told[n].got) for n in negative}
        self.say(settings(window=size))
        assert {n: len(self.told[n].got) for n in negative} == before

    @precondition(lambda self: self.streams)
    @rule(pick=st.integers(0))
    def break_off(self, pick: int) -> None:
        number = list(self.streams)[pick % len(self.streams)]
        self.told[number].is_reset = True
        self.say(reset(number))

    @invariant()
    def what_came_is_the_beginning_of_what_was_sent(self) -> None:
        for number, told in self.told.items():
            assert self.sent[number].startswith(told.got)

    @invariant()
    def nothing_waits_that_could_go(self) -> None:
        for number, stream in self.streams.items():
            if stream.waiting:
                assert min(self.connection, self.told[number].window) <= 0

    def teardown(self) -> None:
        for number, told in self.told.items():
            told.window += MIB
            self.say(window(number, MIB))
        self.connection += 100 * MIB
        self.say(window(0, 100 * MIB))
        for number, told in self.told.items():
            if not told.is_reset:
                assert told.got == self.sent[number]
                assert told.is_over == (number in self.ended)
        if self.streams.keys() == self.ended:
            assert self.node.streams == {}


Client.TestCase.settings = how(max_examples=100, stateful_step_count=40, deadline=None)
test_a_client_gets_what_was_sent_whatever_it_does_with_its_windows = Client.TestCase


def test_windows_of_the_peer_that_get_too_large_are_its_error() -> None:
    node, _ = with_streams(1)
    with pytest.raises(ProtocolError) as caught:
        node.receive(window(0, (1 << 31) - 1 - 65_535) + window(0, 1))
    assert caught.value.code is ErrorCode.FLOW_CONTROL_ERROR
