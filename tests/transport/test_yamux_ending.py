"""How streams and sessions end in the yamux core, and what a session says about itself."""

import struct

import pytest

from gitaly.transport.yamux import Session
from gitaly.transport.yamux_frames import (
    CannotOpen,
    DataReceived,
    GoAwayReceived,
    Limits,
    PingAnswered,
    ProtocolError,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from tests.transport.yamux_wire import (
    FIN_1,
    GO_AWAY_PROTOCOL_ERROR,
    KIB,
    OPEN_1,
    RST_1,
    data,
    node,
    node_with_stream,
    payload_of,
    received,
    sent,
)

# Ending


def test_finishing_sends_one_fin() -> None:
    session, stream = node_with_stream()
    session.finish(stream)
    session.finish(stream)
    assert sent(session) == FIN_1
    assert stream.send_window == 0


def test_a_finished_stream_still_receives() -> None:
    session, stream = node_with_stream()
    session.finish(stream)
    assert payload_of(received(session, data(1, b"late"))) == b"late"


def test_a_window_update_does_not_reopen_a_finished_stream() -> None:
    session, stream = node_with_stream()
    session.finish(stream)
    assert received(session, bytes.fromhex("00 01 0000 00000001 00000005")) == []
    assert stream.send_window == 0


@pytest.mark.parametrize("we_are_first", [True, False])
def test_after_both_fins_the_stream_is_forgotten(we_are_first: bool) -> None:
    session, stream = node_with_stream()
    if we_are_first:
        session.finish(stream)
    assert received(session, FIN_1) == [StreamFinished(stream)]
    session.finish(stream)
    assert (session.stream_count, stream.is_open) == (0, False)
    assert received(session, data(1, b"dropped") + RST_1 + FIN_1) == []


def test_a_fin_on_data_comes_after_the_data() -> None:
    session, stream = node_with_stream()
    wire = data(1, b"bye", flags=4)
    assert received(session, wire[:13]) == [DataReceived(stream, memoryview(b"b"))]
    assert received(session, wire[13:]) == [
        DataReceived(stream, memoryview(b"ye")),
        StreamFinished(stream),
    ]


def test_a_fin_on_an_empty_data_frame_counts() -> None:
    session, stream = node_with_stream()
    assert received(session, data(1, b"", flags=4)) == [StreamFinished(stream)]


def test_data_after_the_peers_fin_are_dropped() -> None:
    session, stream = node_with_stream()
    assert received(session, FIN_1 + data(1, b"late")) == [StreamFinished(stream)]
    assert stream.unread == 0


@pytest.mark.parametrize("second", [FIN_1, data(1, b"x", flags=4), data(1, b"", flags=4)])
def test_a_second_fin_ends_the_session(second: bytes) -> None:
    session, _ = node_with_stream()
    with pytest.raises(ProtocolError, match="second FIN on stream 1"):
        received(session, FIN_1 + second)
    assert sent(session) == GO_AWAY_PROTOCOL_ERROR


def test_a_reset_is_sent_once_and_silences_the_stream() -> None:
    session, stream = node_with_stream()
    session.reset(stream)
    session.reset(stream)
    session.finish(stream)
    assert sent(session) == RST_1
    assert received(session, data(1, b"dropped") + RST_1) == []


def test_the_peers_reset_ends_the_stream_and_drops_what_rides_on_it() -> None:
    session, stream = node_with_stream()
    assert received(session, data(1, b"dropped", flags=8)) == [StreamReset(stream)]
    assert stream.send_window == 0


def test_what_was_received_before_the_end_may_be_consumed_after_it() -> None:
    session, stream = node_with_stream(Limits())
    received(session, data(1, bytes(200 * KIB)) + RST_1)
    session.consumed(stream, 200 * KIB)
    assert sent(session) == b""


def test_a_stream_that_was_reset_before_accept_is_accepted_without_effect() -> None:
    session = node()
    opened, reset = received(session, OPEN_1 + RST_1)
    assert isinstance(opened, StreamOpened)
    assert reset == StreamReset(opened.stream)
    session.accept(opened.stream)
    session.finish(opened.stream)
    assert sent(session) == b""


def test_a_peer_that_has_finished_is_granted_nothing_more() -> None:
    session, stream = node_with_stream(Limits())
    received(session, data(1, bytes(200 * KIB), flags=4))
    session.consumed(stream, 200 * KIB)
    assert sent(session) == b""


@pytest.mark.parametrize("refused_by_us", [True, False])
def test_a_stream_that_is_never_accepted_leaves_the_backlog(refused_by_us: bool) -> None:
    session = Session(is_client=False, limits=Limits(accept_backlog=1))
    [opened] = received(session, OPEN_1)
    assert isinstance(opened, StreamOpened)
    if refused_by_us:
        session.reset(opened.stream)
    else:
        received(session, RST_1)
    assert len(received(session, OPEN_1)) == 1


def test_a_stream_that_ended_makes_room_for_the_next() -> None:
    session, _ = node_with_stream()
    received(session, RST_1)
    [opened] = received(session, bytes.fromhex("00 01 0001 00000003 00000000"))
    assert isinstance(opened, StreamOpened)


# Session


def test_pings_are_answered_with_the_same_number() -> None:
    session = node()
    assert received(session, bytes.fromhex("00 02 0001 00000000 deadbeef")) == []
    assert sent(session).hex(" ") == "00 02 00 02 00 00 00 00 de ad be ef"


def test_our_pings_are_answered_by_an_event() -> None:
    session = node()
    session.ping(7)
    assert sent(session).hex(" ") == "00 02 00 01 00 00 00 00 00 00 00 07"
    answer = bytes.fromhex("00 02 0002 00000000 00000007")
    assert received(session, answer) == [PingAnswered(7)]


def test_answers_that_nobody_takes_do_not_pile_up() -> None:
    session = Session(is_client=False, limits=Limits(max_pending_replies=3))
    ping = bytes.fromhex("00 02 0001 00000000 00000000")
    received(session, ping * 3)
    session.data_to_send()
    received(session, ping * 3)
    with pytest.raises(ProtocolError, match="does not take the answers"):
        received(session, ping)
    assert len(session.data_to_send()) == 4


@pytest.mark.parametrize("code", [0, 1, 2, 99])
def test_a_go_away_is_reported_with_its_code(code: int) -> None:
    wire = struct.pack(">BBHII", 0, 3, 0, 0, code)
    assert received(node(), wire) == [GoAwayReceived(code)]


def test_going_away_says_why() -> None:
    session = node()
    session.go_away(2)
    assert sent(session).hex(" ") == "00 03 00 00 00 00 00 00 00 00 00 02"


@pytest.mark.parametrize("head", ["01 00", "ff 01", "00 04", "00 ff"])
def test_an_unknown_version_or_type_ends_the_session(head: str) -> None:
    session = node()
    with pytest.raises(ProtocolError, match="unknown"):
        received(session, bytes.fromhex(head) + bytes(10))
    assert sent(session) == GO_AWAY_PROTOCOL_ERROR


def test_a_session_that_is_over_takes_nothing_any_more() -> None:
    session = node()
    with pytest.raises(ProtocolError):
        received(session, b"\xff" * 12)
    session.data_to_send()
    with pytest.raises(ProtocolError, match="unknown version 255"):
        received(session, OPEN_1)
    with pytest.raises(CannotOpen, match="session shutdown"):
        session.open_stream()
    assert sent(session) == b""


@pytest.mark.parametrize("max_window", [262_143, 0x1_0000_0000])
def test_a_window_that_the_protocol_cannot_have_is_refused(max_window: int) -> None:
    with pytest.raises(ValueError, match="max_window"):
        Limits(max_window=max_window)
