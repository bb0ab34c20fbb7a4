"""Frames of a client, byte for byte, and what the session makes of them. Source: RFC 9113."""

import struct

import pytest

from gitaly.transport.http2 import ErrorCode, MalformedRequest, encoded
from gitaly.transport.http2.fields import Fields
from gitaly.transport.http2.frames import ProtocolError
from gitaly.transport.http2.session import MOST_CONTINUATIONS, Session
from gitaly.transport.http2.streams import (
    DataReceived,
    Malformed,
    Ready,
    StreamOpened,
    StreamReset,
)
from tests.transport.http2.raw import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    HELLO,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PUSH,
    REQUEST,
    RST,
    SETTINGS,
    WINDOW,
    Frame,
    data,
    frame,
    frames,
    opened,
    request,
    reset,
    said,
    session,
    settings,
    window,
)

SLEEPING = 1 << 31  # the reserved bit


def with_stream(*, is_end: bool = False) -> Session:
    node = session()
    node.receive(request(1, is_end=is_end))
    return node


def with_ended_stream() -> Session:
    """Answered and over on both sides."""
    node = session()
    [event] = opened(node.receive(request(1, is_end=True)))
    node.send_trailers(event.stream, encoded([(b"grpc-status", b"0")]))
    node.data_to_send()
    return node


# How a connection begins


def test_the_node_greets_with_its_windows_and_what_fields_it_takes() -> None:
    assert b"".join(Session(lambda fields: fields).data_to_send()).hex(" ") == (
        "00 00 0c 04 00 00 00 00 00 00 04 00 10 00 00 00 06 00 04 00 00"
        " 00 00 04 08 00 00 00 00 00 00 ff 00 01"
    )


def test_the_peer_is_known_with_its_settings_which_are_acknowledged() -> None:
    node = Session(lambda fields: fields)
    node.data_to_send()
    assert node.receive(PREFACE) == []
    [event] = node.receive(settings(window=5))
    assert isinstance(event, Ready)
    assert b"".join(node.data_to_send()).hex(" ") == "00 00 00 04 01 00 00 00 00"


def test_the_peer_is_introduced_once() -> None:
    assert session().receive(settings() + frame(SETTINGS, ACK, 0)) == []


@pytest.mark.parametrize("wire", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/1", PREFACE[:-1] + b"x"])
def test_what_is_not_http2_is_known_by_its_first_bytes(wire: bytes) -> None:
    with pytest.raises(ProtocolError, match="not HTTP/2"):
        Session(lambda fields: fields).receive(wire)


@pytest.mark.parametrize("first", [request(1), frame(PING, 0, 0, bytes(8)), window(0, 1)])
def test_nothing_comes_before_the_settings(first: bytes) -> None:
    with pytest.raises(ProtocolError, match="first frame"):
        Session(lambda fields: fields).receive(PREFACE + first)


# Frames, byte for byte

TALK = (
    HELLO
    + request(1)
    + data(1, b"hello ")
    + frame(99, 255, 1, b"unknown")
    + frame(PING, 0, 0, b"12345678")
    + frame(DATA, PADDED | END_STREAM, 1, b"\x03world\0\0\0")
    + frame(HEADERS, END_STREAM, 3, REQUEST[:10])
    + frame(CONTINUATION, 0, 3, REQUEST[10:20])
    + frame(CONTINUATION, END_HEADERS, 3, REQUEST[20:])
    + reset(1)
)


def story(events: list[object]) -> list[object]:
    """What happened, with the pieces of a body that follow each other joined."""
    told: list[object] = []
    for event in events:
        match event:
            case StreamOpened(stream, head, is_end):
                told.append(("opened", stream.number, head, is_end))
            case DataReceived(stream, piece, is_end):
                told.append(("data", stream.number, piece, is_end))
            case StreamReset(stream, code):
                told.append(("reset", stream.number, int(code)))
            case Ready():
                told.append("ready")
    return told


@pytest.mark.parametrize("cut", range(len(TALK) + 1))
def test_frames_do_not_depend_on_where_the_network_cuts_them(cut: int) -> None:
    node = Session(lambda fields: len(fields))
    events = [*node.receive(TALK[:cut]), *node.receive(memoryview(TALK)[cut:])]
    assert story(list(events)) == [
        "ready",
        ("opened", 1, 5, False),
        ("data", 1, b"hello ", False),
        ("data", 1, b"world", True),
        ("opened", 3, 5, True),
        ("reset", 1, 8),
    ]


def test_they_may_come_byte_by_byte() -> None:
    node = Session(lambda fields: len(fields))
    events = [event for n in range(len(TALK)) for event in node.receive(TALK[n : n + 1])]
    assert len(events) == 6


def test_a_request_may_have_padding_and_a_priority() -> None:
    node = session()
    payload = b"\x02" + struct.pack(">IB", 0, 16) + REQUEST + b"\0\0"
    flags = PADDED | PRIORITIZED | END_HEADERS
    [event] = opened(node.receive(frame(HEADERS, flags, 1, payload)))
    assert event.head[2] == (b":path", b"/a/b")


def test_the_reserved_bit_of_a_stream_means_nothing() -> None:
    [event] = opened(session().receive(request(1 | SLEEPING)))
    assert event.stream.number == 1


def test_a_ping_is_answered_with_its_own_bytes() -> None:
    node = session()
    node.receive(frame(PING, 0, 0, b"12345678"))
    assert b"".join(node.data_to_send()).hex(" ") == (
        "00 00 08 06 01 00 00 00 00 31 32 33 34 35 36 37 38"
    )


def test_an_answer_to_our_ping_is_not_answered() -> None:
    node = session()
    node.ping()
    assert said(node) == [Frame(PING, 0, 0, bytes(8))]
    node.receive(frame(PING, ACK, 0, bytes(8)))
    assert said(node) == []


def test_an_answer_is_header_fields_data_and_trailers() -> None:
    node = session()
    [event] = opened(node.receive(request(1, is_end=True)))
    node.send_headers(event.stream, encoded([(b"a", b"b")]))
    node.send_data(event.stream, (b"hello", memoryview(b" world")))
    node.send_trailers(event.stream, encoded([(b"c", b"d")]))
    assert b"".join(node.data_to_send()).hex(" ") == (
        "00 00 06 01 04 00 00 00 01 20 00 01 61 01 62"
        " 00 00 0b 00 00 00 00 00 01 68 65 6c 6c 6f 20 77 6f 72 6c 64"
        " 00 00 05 01 05 00 00 00 01 00 01 63 01 64"
    )
    assert node.streams == {}


def test_an_answer_without_trailers_ends_with_empty_data() -> None:
    node = session()
    [event] = opened(node.receive(request(1, is_end=True)))
    node.send_trailers(event.stream, b"")
    assert said(node) == [Frame(DATA, END_STREAM, 1, b"")]


def test_an_answer_before_the_end_of_the_request_tells_the_client_to_stop() -> None:
    node = session()
    [event] = opened(node.receive(request(1)))
    node.send_trailers(event.stream, b"block")
    assert [(f.kind, f.flags) for f in said(node)] == [
        (HEADERS, END_STREAM | END_HEADERS),
        (RST, 0),
    ]
    assert event.stream.is_reset


def test_nothing_is_sent_after_the_end() -> None:
    node = session()
    [event] = opened(node.receive(request(1, is_end=True)))
    node.send_trailers(event.stream, b"block")
    node.data_to_send()
    node.send_headers(event.stream, b"x")
    node.send_data(event.stream, (b"x",))
    node.send_trailers(event.stream, b"x")
    node.reset(event.stream, ErrorCode.CANCEL)
    assert said(node) == []


def test_a_long_header_block_is_cut_into_continuations() -> None:
    node = session()
    [event] = opened(node.receive(request(1, is_end=True)))
    node.send_headers(event.stream, bytes(40_000))
    sent = said(node)
    assert [(f.kind, f.flags, len(f.payload)) for f in sent] == [
        (HEADERS, 0, 16_384),
        (CONTINUATION, 0, 16_384),
        (CONTINUATION, END_HEADERS, 7_233),  # with the byte that empties the table
    ]
    assert b"".join(f.payload for f in sent) == b"\x20" + bytes(40_000)


@pytest.mark.parametrize("size", [16_383, 16_384])
def test_a_block_that_fits_is_one_frame_and_one_byte_more_are_two(size: int) -> None:
    node = session()
    first, second = opened(node.receive(request(1, is_end=True) + request(3, is_end=True)))
    node.send_headers(first.stream, b"")
    node.data_to_send()
    node.send_trailers(second.stream, bytes(size))
    assert [f.flags for f in said(node)] == [END_STREAM | END_HEADERS]
    node = session(PREFACE + settings(frame=20_000))
    [event] = opened(node.receive(request(1, is_end=True)))
    node.send_trailers(event.stream, bytes(20_000))
    assert [f.flags for f in said(node)] == [END_STREAM, END_HEADERS]


# What ends the connection

ENDINGS: list[tuple[str, bytes, ErrorCode]] = [
    ("data on the connection", data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("data on an idle stream", data(3, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("data on a stream of ours", data(2, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("more padding than data", frame(DATA, PADDED, 1, b"\x05abc"), ErrorCode.PROTOCOL_ERROR),
    ("padding without its size", frame(DATA, PADDED, 1), ErrorCode.PROTOCOL_ERROR),
    ("a request on the connection", request(0), ErrorCode.PROTOCOL_ERROR),
    ("a request on a stream of ours", request(2), ErrorCode.PROTOCOL_ERROR),
    (
        "a request with too much padding",
        frame(HEADERS, PADDED | END_HEADERS, 3, b"\xff" + REQUEST),
        ErrorCode.PROTOCOL_ERROR,
    ),
    (
        "no room for a priority",
        frame(HEADERS, PRIORITIZED | END_HEADERS, 3, b"1234"),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    (
        "a request that depends on itself",
        frame(HEADERS, PRIORITIZED | END_HEADERS, 3, b"\0\0\0\x03\0" + REQUEST),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("unreadable fields", request(3, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    ("a continuation of nothing", frame(CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR),
    (
        "another frame in a block",
        frame(HEADERS, 0, 3, REQUEST) + data(1, b"x"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    (
        "an unknown frame in a block",
        frame(HEADERS, 0, 3, REQUEST) + frame(99, 0, 3),
        ErrorCode.PROTOCOL_ERROR,
    ),
    (
        "another stream in a block",
        frame(HEADERS, 0, 3, REQUEST) + frame(CONTINUATION, 4, 1),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("a priority of the connection", frame(PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    (
        "a priority of another size, of an idle stream",
        frame(PRIORITY, 0, 5, bytes(4)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    ("a reset of the connection", reset(0), ErrorCode.PROTOCOL_ERROR),
    ("a reset of an idle stream", reset(3), ErrorCode.PROTOCOL_ERROR),
    ("a reset of another size", frame(RST, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    ("settings of a stream", frame(SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
    ("settings of another size", frame(SETTINGS, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    ("settings in an answer", frame(SETTINGS, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    (
        "push that is neither",
        frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("too large a first window", settings(window=1 << 31), ErrorCode.FLOW_CONTROL_ERROR),
    ("frames too small", settings(frame=16_383), ErrorCode.PROTOCOL_ERROR),
    ("frames too large", settings(frame=1 << 24), ErrorCode.PROTOCOL_ERROR),
    ("a promise", frame(PUSH, END_HEADERS, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    ("a ping on a stream", frame(PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    ("a ping of another size", frame(PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    ("a goodbye on a stream", frame(GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    ("a goodbye that is too short", frame(GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    ("a window of another size", frame(WINDOW, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
    ("a window of an idle stream", window(3, 1), ErrorCode.PROTOCOL_ERROR),
    ("no window at all", window(0, 0), ErrorCode.PROTOCOL_ERROR),
    ("too large a window", window(0, (1 << 31) - 1), ErrorCode.FLOW_CONTROL_ERROR),
    (
        "windows that get too large",
        window(1, (1 << 31) - 1 - 65_535) + settings(window=65_536),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    ("too large a frame", frame(DATA, 0, 1, bytes(16_385))[:9], ErrorCode.FRAME_SIZE_ERROR),
]


@pytest.mark.parametrize(("wire", "code"), [e[1:] for e in ENDINGS], ids=[e[0] for e in ENDINGS])
def test_an_error_that_ends_the_connection_has_its_code(wire: bytes, code: ErrorCode) -> None:
    node = with_stream()
    with pytest.raises(ProtocolError) as caught:
        node.receive(wire)
    assert caught.value.code is code


def test_fields_on_a_stream_that_was_over_end_the_connection() -> None:
    with pytest.raises(ProtocolError) as caught:
        with_ended_stream().receive(request(1))
    assert caught.value.code is ErrorCode.STREAM_CLOSED


def test_a_stream_of_a_lower_number_cannot_be_opened_later() -> None:
    node = session()
    node.receive(request(5))
    with pytest.raises(ProtocolError):
        node.receive(request(3))


def test_what_happened_before_the_error_is_not_forgotten() -> None:
    node = with_stream()
    with pytest.raises(ProtocolError):
        node.receive(reset(1) + window(0, 0))
    assert [type(event) for event in node.take_events()] == [StreamReset]
    assert node.take_events() == []


# What ends a stream

RESETS: list[tuple[str, bytes, ErrorCode]] = [
    ("no window", window(1, 0), ErrorCode.PROTOCOL_ERROR),
    ("too large a window", window(1, (1 << 31) - 1), ErrorCode.FLOW_CONTROL_ERROR),
    ("a priority of another size", frame(PRIORITY, 0, 1, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    (
        "it depends on itself",
        frame(PRIORITY, 0, 1, b"\0\0\0\x01\0"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("fields in the middle", request(1), ErrorCode.PROTOCOL_ERROR),
    ("a request at its end", request(1, is_end=True), ErrorCode.PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("wire", "code"), [e[1:] for e in RESETS], ids=[e[0] for e in RESETS])
def test_an_error_of_a_stream_resets_that_stream_only(wire: bytes, code: ErrorCode) -> None:
    node = with_stream()
    node.receive(request(3))
    [event] = node.receive(wire)
    assert isinstance(event, StreamReset)
    assert said(node) == [Frame(RST, 0, 1, struct.pack(">I", code))]
    assert list(node.streams) == [3]
    assert node.receive(data(3, b"x")) != []


@pytest.mark.parametrize("wire", [data(1, b"x"), request(1, is_end=True)])
def test_what_comes_after_the_end_of_a_request_resets_it(wire: bytes) -> None:
    node = with_stream(is_end=True)
    [event] = node.receive(wire)
    assert isinstance(event, StreamReset)
    assert [(f.kind, f.code) for f in said(node)] == [(RST, ErrorCode.STREAM_CLOSED)]


def test_data_after_the_end_of_a_stream_are_answered_with_one_reset() -> None:
    node = with_ended_stream()
    assert node.receive(data(1, b"x") + data(1, b"y", is_end=True)) == []
    assert [(f.kind, f.code) for f in said(node)] == [(RST, ErrorCode.STREAM_CLOSED)]


def test_a_malformed_request_is_reset_and_the_next_one_served() -> None:
    def read(fields: Fields) -> Fields:
        if len(fields) == 1:
            raise MalformedRequest
        return fields

    node = Session(read)
    node.receive(HELLO)
    node.data_to_send()
    events = node.receive(request(1, encoded([(b"a", b"b")])) + data(1, b"x") + request(3))
    assert [type(event) for event in events] == [Malformed, StreamOpened]
    assert [(f.kind, f.stream, f.code) for f in said(node)] == [(RST, 1, ErrorCode.PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    "late",
    [
        data(1, b"x"),
        data(1, b"x", is_end=True),
        request(1, encoded([(b"x", b"y")]), is_end=True),
        reset(1),
        window(1, 5),
        window(1, 0),
    ],
)
def test_what_was_on_its_way_when_we_broke_a_stream_off_means_nothing(late: bytes) -> None:
    node = session()
    [event] = opened(node.receive(request(1)))
    node.send_trailers(event.stream, b"block")
    node.data_to_send()
    assert node.receive(late) == []
    assert said(node) == []


def test_trailers_of_the_client_end_its_request() -> None:
    node = with_stream()
    [event] = node.receive(request(1, encoded([(b"x", b"y")]), is_end=True))
    assert isinstance(event, DataReceived)
    assert (event.data, event.is_end) == (b"", True)


def test_a_frame_for_a_stream_that_was_reset_by_its_client_is_answered_once() -> None:
    node = with_stream()
    node.receive(reset(1))
    assert node.receive(window(1, 5) + reset(1)) == []
    assert said(node) == []


def test_an_unknown_code_of_a_reset_is_an_internal_error() -> None:
    [event] = with_stream().receive(reset(1, 99))
    assert isinstance(event, StreamReset)
    assert event.code is ErrorCode.INTERNAL_ERROR


def test_an_unknown_setting_means_nothing() -> None:
    assert session().receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 99, 1))) == []


# Goodbye


def test_the_first_goodbye_refuses_nobody() -> None:
    node = with_stream()
    node.goodbye(is_last=False)
    assert node.data_to_send() != []
    assert len(opened(node.receive(request(3)))) == 1


def test_after_the_last_goodbye_new_streams_are_refused_and_may_be_tried_elsewhere() -> None:
    node = with_stream()
    node.goodbye(is_last=True)
    assert [f.payload for f in said(node)] == [struct.pack(">II", 1, 0)]
    assert node.receive(request(3) + data(3, b"x", is_end=True)) == []
    assert [(f.kind, f.stream, f.code) for f in said(node)] == [(RST, 3, ErrorCode.REFUSED_STREAM)]
    assert list(node.streams) == [1]


def test_fields_of_a_refused_stream_still_count_for_the_table() -> None:
    node = with_stream()
    node.goodbye(is_last=True)
    node.receive(request(3, b"\x40\x01x\x03old"))
    node.data_to_send()
    assert node.receive(request(1, b"\xbe", is_end=True)) != []  # the entry is there


def test_a_later_goodbye_does_not_take_back_what_was_refused() -> None:
    node = with_stream()
    node.goodbye(is_last=True)
    node.receive(request(3))
    node.data_to_send()
    node.goodbye(is_last=True, code=ErrorCode.PROTOCOL_ERROR, text="why")
    [goaway] = frames(b"".join(node.data_to_send()))
    assert goaway.payload == struct.pack(">II", 1, ErrorCode.PROTOCOL_ERROR) + b"why"


def test_the_goodbye_of_a_client_ends_no_stream() -> None:
    node = with_stream()
    assert node.receive(frame(GOAWAY, 0, 0, bytes(8) + b"bye")) == []
    assert node.receive(data(1, b"x")) != []


# Floods


def test_a_block_of_endless_frames_ends_the_connection() -> None:
    node = session()
    node.receive(frame(HEADERS, 0, 1, REQUEST))
    with pytest.raises(ProtocolError) as caught:
        node.receive(frame(CONTINUATION, 0, 1) * (MOST_CONTINUATIONS + 2))
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_a_block_of_endless_bytes_ends_the_connection() -> None:
    node = session()
    node.receive(frame(HEADERS, 0, 1, bytes(16_384)))
    with pytest.raises(ProtocolError) as caught:
        node.receive(frame(CONTINUATION, 0, 1, bytes(16_384)) * 64)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_settings_without_requests_end_the_connection() -> None:
    node = session()
    node.receive(settings(window=1) * 900)
    with pytest.raises(ProtocolError) as caught:
        node.receive(settings(window=1) * 200)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_settings_with_requests_are_fine() -> None:
    node = session()
    for stream in range(1, 5000, 2):
        node.receive(settings(window=stream) + request(stream) + reset(stream))


def test_ten_thousand_streams_that_come_and_go_leave_nothing() -> None:
    node = session()
    for stream in range(1, 20_001, 2):
        node.receive(request(stream) + data(stream, b"hello") + reset(stream))
    assert node.streams == {}
    assert said(node) == []


def test_of_streams_that_we_break_off_only_the_last_ones_are_remembered() -> None:
    node = session()
    for stream in range(1, 4_001, 2):
        [event] = opened(node.receive(request(stream)))
        node.send_trailers(event.stream, b"")
    node.data_to_send()
    assert node.receive(data(3_999, b"late")) == []
    assert said(node) == []
    assert node.receive(data(1, b"very late")) == []
    assert [(f.kind, f.stream, f.code) for f in said(node)] == [(RST, 1, ErrorCode.STREAM_CLOSED)]
