"""How streams open and carry data in the yamux core. The bytes are those of hashicorp/yamux."""

import struct

import pytest

from gitaly.transport.yamux import Session
from gitaly.transport.yamux_frames import (
    CannotOpen,
    DataReceived,
    GoAwayReceived,
    Limits,
    ProtocolError,
    StreamAccepted,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from tests.transport.yamux_wire import (
    ACK_1,
    GO_AWAY_PROTOCOL_ERROR,
    KIB,
    OPEN_1,
    RST_1,
    client,
    client_with_stream,
    data,
    node,
    node_with_stream,
    payload_of,
    received,
    sent,
)

# Opening


def test_a_client_opens_stream_1_with_a_window_update() -> None:
    session = client()
    assert session.open_stream().id == 1
    assert sent(session) == OPEN_1


def test_a_node_opens_stream_2_and_grants_its_whole_window() -> None:
    session = node()
    assert session.open_stream().id == 2
    assert sent(session).hex(" ") == "00 01 00 01 00 00 00 02 00 fc 00 00"


def test_ids_of_one_side_go_up_by_two() -> None:
    session = client()
    assert [session.open_stream().id for _ in range(3)] == [1, 3, 5]


def test_the_node_answers_nothing_before_it_accepts() -> None:
    session = node()
    [opened] = received(session, OPEN_1)
    assert isinstance(opened, StreamOpened)
    assert sent(session) == b""


def test_accepting_sends_the_ack_with_the_rest_of_the_window() -> None:
    session = node()
    [opened] = received(session, OPEN_1)
    assert isinstance(opened, StreamOpened)
    session.accept(opened.stream)
    assert sent(session).hex(" ") == "00 01 00 02 00 00 00 01 00 fc 00 00"


def test_accepting_with_the_initial_window_grants_nothing() -> None:
    session = Session(is_client=False, limits=Limits())
    [opened] = received(session, OPEN_1)
    assert isinstance(opened, StreamOpened)
    session.accept(opened.stream)
    assert sent(session) == ACK_1


def test_a_stream_is_accepted_once() -> None:
    session, stream = node_with_stream()
    with pytest.raises(ValueError, match="does not wait to be accepted"):
        session.accept(stream)
    assert sent(session) == b""


def test_our_own_stream_cannot_be_accepted_by_us() -> None:
    session, stream = client_with_stream()
    with pytest.raises(ValueError, match="does not wait to be accepted"):
        session.accept(stream)


def test_nothing_can_be_sent_on_a_stream_that_is_not_accepted() -> None:
    session = node()
    [opened] = received(session, OPEN_1)
    assert isinstance(opened, StreamOpened)
    assert opened.stream.send_window == 0
    with pytest.raises(ValueError, match="exceed the window of 0"):
        session.send_data(opened.stream, [b"x"], 1)
    with pytest.raises(ValueError, match="is not accepted"):
        session.finish(opened.stream)


def test_the_opener_may_send_before_the_ack() -> None:
    session = client()
    stream = session.open_stream()
    session.send_data(stream, [b"hello"], 5)
    assert sent(session) == OPEN_1 + data(1, b"hello")


def test_data_that_come_before_accept_count_as_unread_in_the_grant() -> None:
    session = node()
    opened, *_ = received(session, OPEN_1 + data(1, bytes(1000)))
    assert isinstance(opened, StreamOpened)
    session.consumed(opened.stream, 400)
    assert sent(session) == b""
    session.accept(opened.stream)
    assert sent(session) == struct.pack(">BBHII", 0, 1, 2, 1, 16_515_072 + 400)


def test_a_syn_may_ride_on_data() -> None:
    session = node()
    opened, piece = received(session, data(1, b"hello", flags=1))
    assert isinstance(opened, StreamOpened)
    assert piece == DataReceived(opened.stream, memoryview(b"hello"))


def test_an_ack_is_reported_once() -> None:
    session, stream = client_with_stream()
    assert session.unacknowledged == 1
    assert received(session, ACK_1) == [StreamAccepted(stream)]
    assert received(session, ACK_1) == []
    assert session.unacknowledged == 0


def test_an_ack_may_ride_on_data_or_open_the_window() -> None:
    session = client()
    one, three = session.open_stream(), session.open_stream()
    wire = data(1, b"x", flags=2) + bytes.fromhex("00 01 0002 00000003 00fc0000")
    assert received(session, wire) == [
        StreamAccepted(one),
        DataReceived(one, memoryview(b"x")),
        StreamAccepted(three),
        WindowOpened(three),
    ]
    assert three.send_window == 16 * KIB * KIB


# Refusing


def test_a_node_takes_one_stream_and_refuses_the_next_at_once() -> None:
    session, stream = node_with_stream()
    wire = bytes.fromhex("00 01 0001 00000003 00000000")
    assert received(session, wire + data(3, b"dropped") + data(1, b"kept")) == [
        DataReceived(stream, memoryview(b"kept"))
    ]
    assert sent(session).hex(" ") == "00 01 00 08 00 00 00 03 00 00 00 00"
    assert session.stream_count == 1


def test_streams_beyond_the_accept_backlog_are_refused() -> None:
    session = Session(is_client=False, limits=Limits(accept_backlog=1))
    [opened] = received(session, OPEN_1)
    three = bytes.fromhex("00 01 0001 00000003 00000000")
    assert received(session, three) == []
    assert isinstance(opened, StreamOpened)
    session.accept(opened.stream)
    assert len(received(session, three)) == 1


def test_streams_beyond_the_total_are_refused_and_not_opened() -> None:
    session = Session(is_client=False, limits=Limits(max_streams=1))
    session.open_stream()
    session.data_to_send()
    assert received(session, OPEN_1) == []
    assert sent(session) == RST_1
    with pytest.raises(CannotOpen, match="too many streams"):
        session.open_stream()


def test_after_our_go_away_the_peer_opens_no_streams() -> None:
    session, stream = node_with_stream()
    session.reset(stream)
    session.go_away()
    session.data_to_send()
    assert received(session, OPEN_1) == []
    assert sent(session) == RST_1


def test_after_the_peers_go_away_we_open_no_streams() -> None:
    session = client()
    assert received(session, bytes.fromhex("00 03 0000 00000000 00000000")) == [GoAwayReceived(0)]
    with pytest.raises(CannotOpen, match="not accepting"):
        session.open_stream()


def test_ids_run_out_one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    session = client()
    monkeypatch.setattr(session, "_next_id", 0xFFFF_FFFF)
    assert session.open_stream().id == 0xFFFF_FFFF
    with pytest.raises(CannotOpen, match="exhausted"):
        session.open_stream()


def test_a_refused_stream_is_forgotten() -> None:
    session, stream = client_with_stream()
    assert received(session, RST_1) == [StreamReset(stream)]
    assert (session.stream_count, session.unacknowledged) == (0, 0)
    assert (stream.is_open, stream.send_window) == (False, 0)


@pytest.mark.parametrize("stream_id", [0, 2, 4, 0xFFFF_FFFE])
def test_a_client_may_not_open_even_ids(stream_id: int) -> None:
    with pytest.raises(ProtocolError, match=f"may not open stream {stream_id}"):
        received(node(), struct.pack(">BBHII", 0, 1, 1, stream_id, 0))


def test_a_server_may_not_open_odd_ids() -> None:
    with pytest.raises(ProtocolError, match="may not open stream 3"):
        received(client(), struct.pack(">BBHII", 0, 1, 1, 3, 0))


def test_a_syn_for_an_open_stream_ends_the_session() -> None:
    session, _ = node_with_stream()
    with pytest.raises(ProtocolError, match="stream 1 is open already"):
        received(session, OPEN_1)
    assert sent(session) == GO_AWAY_PROTOCOL_ERROR


# Sending


def test_one_header_covers_a_batch_of_buffers_and_none_is_copied() -> None:
    session, stream = client_with_stream()
    first, second = b"hello ", memoryview(b"world")
    session.send_data(stream, [first, second], 11)
    header, *buffers = session.data_to_send()
    assert bytes(header).hex(" ") == "00 00 00 00 00 00 00 01 00 00 00 0b"
    assert buffers[0] is first
    assert buffers[1] is second
    assert session.data_to_send() == []


def test_sending_uses_the_window_up() -> None:
    session, stream = client_with_stream()
    session.send_data(stream, [bytes(262_143)], 262_143)
    assert stream.send_window == 1
    with pytest.raises(ValueError, match="2 bytes exceed the window of 1"):
        session.send_data(stream, [b"xy"], 2)
    session.send_data(stream, [b"x"], 1)
    assert stream.send_window == 0


def test_a_wrong_size_is_noticed_before_it_breaks_the_framing() -> None:
    session, stream = client_with_stream()
    with pytest.raises(ValueError, match="do not have 4 bytes"):
        session.send_data(stream, [b"hello"], 4)
    assert session.data_to_send() == []


def test_nothing_to_send_is_no_frame() -> None:
    session, stream = client_with_stream()
    session.send_data(stream, [], 0)
    assert session.data_to_send() == []


def test_a_window_update_opens_the_window() -> None:
    session, stream = client_with_stream()
    wire = bytes.fromhex("00 01 0000 00000001 00fc0000")
    assert received(session, wire) == [WindowOpened(stream)]
    assert stream.send_window == 16 * KIB * KIB


def test_a_window_beyond_32_bits_ends_the_session() -> None:
    session, _ = client_with_stream()
    with pytest.raises(ProtocolError, match="exceeds 32 bits"):
        received(session, bytes.fromhex("00 01 0000 00000001 ffffffff"))


def test_a_window_before_accept_is_kept_for_later() -> None:
    session = node()
    opened, _ = received(session, bytes.fromhex("00 01 0001 00000001 00000005"))
    assert isinstance(opened, StreamOpened)
    session.accept(opened.stream)
    assert opened.stream.send_window == 262_149


# Receiving


@pytest.mark.parametrize("cut", range(12 + 17 + 1))
def test_frames_do_not_depend_on_where_the_network_cuts_them(cut: int) -> None:
    session = node()
    wire = OPEN_1 + data(1, b"hello")
    events = received(session, wire[:cut]) + received(session, wire[cut:])
    assert payload_of(events) == b"hello"
    assert [type(event) for event in events[:2]] == [StreamOpened, DataReceived]


def test_payload_is_a_view_of_the_received_buffer() -> None:
    session, _ = node_with_stream()
    buffer = bytearray(data(1, b"hello"))
    [event] = session.receive(memoryview(buffer))
    buffer[-5:] = b"HELLO"
    assert payload_of([event]) == b"HELLO"


def test_a_frame_of_the_whole_window_is_taken_in_pieces() -> None:
    session, stream = node_with_stream(Limits())
    wire = data(1, bytes(256 * KIB))
    pieces = [received(session, wire[at : at + 65_536]) for at in range(0, len(wire), 65_536)]
    assert sum(len(payload_of(events)) for events in pieces) == 262_144
    assert (stream.receive_window, stream.unread) == (0, 262_144)


def test_the_window_is_granted_again_when_half_of_it_is_consumed() -> None:
    session, stream = node_with_stream(Limits())
    received(session, data(1, bytes(200 * KIB)))
    session.consumed(stream, 128 * KIB - 1)
    assert sent(session) == b""
    session.consumed(stream, 1)
    assert sent(session).hex(" ") == "00 01 00 00 00 00 00 01 00 02 00 00"
    assert stream.receive_window == 184 * KIB


def test_half_a_frame_consumed_does_not_grant_the_other_half() -> None:
    session, stream = node_with_stream(Limits())
    received(session, data(1, bytes(256 * KIB))[: 12 + 128 * KIB])
    session.consumed(stream, 128 * KIB)
    assert sent(session).hex(" ") == "00 01 00 00 00 00 00 01 00 02 00 00"


def test_data_beyond_the_granted_window_end_the_session() -> None:
    session, _ = node_with_stream(Limits())
    received(session, data(1, bytes(262_144)))
    with pytest.raises(ProtocolError, match="receive window of stream 1 exceeded"):
        received(session, data(1, b"x"))
    assert sent(session) == GO_AWAY_PROTOCOL_ERROR


def test_a_frame_beyond_any_window_ends_the_session_even_without_its_stream() -> None:
    with pytest.raises(ProtocolError, match="exceeds 16777216"):
        received(node(), bytes.fromhex("00 00 0000 00000001 01000001"))


def test_a_frame_beyond_the_frame_limit_ends_the_session() -> None:
    session, _ = node_with_stream(Limits(max_frame_size=4))
    with pytest.raises(ProtocolError, match="frame of 5 bytes exceeds 4"):
        received(session, data(1, b"hello"))


def test_more_than_was_received_cannot_be_consumed() -> None:
    session, stream = node_with_stream()
    received(session, data(1, b"hello"))
    with pytest.raises(ValueError, match="6 bytes consumed of 5"):
        session.consumed(stream, 6)


def test_frames_for_unknown_streams_are_dropped_with_their_payload() -> None:
    session, stream = node_with_stream()
    unknown = data(7, b"x" * 100) + bytes.fromhex("00 01 0006 00000009 00000001")
    assert received(session, unknown + data(1, b"y")) == [DataReceived(stream, memoryview(b"y"))]
    assert sent(session) == b""


def test_the_rest_of_a_frame_is_dropped_when_its_stream_is_reset() -> None:
    session, stream = node_with_stream()
    wire = data(1, b"hello world", flags=4)
    assert payload_of(received(session, wire[:17])) == b"hello"
    session.reset(stream)
    assert received(session, wire[17:]) == []
    assert sent(session) == RST_1
