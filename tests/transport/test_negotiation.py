"""What is read along of a client's talk with upload-pack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitaly.transport.negotiation import (
    DONE,
    END_OF_ARGUMENTS,
    Negotiation,
    NegotiationParser,
    PacketWatcher,
)
from gitaly.transport.pktline import DELIM, FLUSH, encode

OID_1 = b"78fb81a02b03f0013360292ec5106763af32c287"
OID_2 = b"0f6394307cd7d4909be96a0c818d8094a4cb0e5b"

FULL_BLOWN = b"".join(
    [
        encode(b"want " + OID_1 + b" cap1 cap2\n"),
        encode(b"want " + OID_2 + b"\n"),
        encode(b"shallow " + OID_2),
        encode(b"shallow " + OID_1),
        encode(b"deepen 1"),
        encode(b"filter blob:none"),
        FLUSH,
        encode(b"have " + OID_2 + b"\n"),
        FLUSH,
        encode(b"have " + OID_1 + b"\n"),
        FLUSH,
        encode(b"done\n"),
    ]
)
SHORT = encode(b"want a cap\n") + FLUSH + encode(b"have b") + encode(b"done\n")
FULL_BLOWN_RESULT = Negotiation(
    payload_size=314,
    packets=11,
    caps=["cap1", "cap2"],
    wants=2,
    haves=2,
    shallows=2,
    deepen="deepen 1",
    filter="blob:none",
)


def parsed(*packets: bytes) -> NegotiationParser:
    parser = NegotiationParser()
    parser.feed(b"".join(packets))
    parser.at_end()
    return parser


def result(*packets: bytes) -> Negotiation:
    parser = parsed(*packets)
    assert parser.error is None
    return parser.result


def test_everything_is_counted_until_done() -> None:
    parser = parsed(FULL_BLOWN)
    assert parser.result == FULL_BLOWN_RESULT
    assert (parser.done, parser.is_finished, parser.saw_deepen) == (True, True, True)


@pytest.mark.parametrize("cut", range(len(SHORT) + 1))
def test_the_result_does_not_depend_on_where_the_bytes_are_cut(cut: int) -> None:
    parser = NegotiationParser()
    parser.feed(SHORT[:cut])
    parser.feed(memoryview(SHORT)[cut:])
    assert parser.result == Negotiation(payload_size=20, packets=3, caps=["cap"], wants=1, haves=1)


def test_a_request_of_protocol_v2() -> None:
    assert result(
        encode(b"command=fetch"),
        encode(b"agent=git/2.53.0"),
        encode(b"object-format=sha1"),
        DELIM,
        encode(b"thin-pack"),
        encode(b"want " + OID_1 + b"\n"),
        encode(b"done\n"),
        FLUSH,
    ) == Negotiation(
        payload_size=13 + 16 + 18 + 9 + 45 + 4,
        packets=6,
        wants=1,
        command="fetch",
        user_agent="git/2.53.0",
    )


def test_the_last_command_of_a_connection_is_the_one_that_counts() -> None:
    lines = encode(b"command=ls-refs"), FLUSH, encode(b"command=fetch"), FLUSH
    assert result(*lines).command == "fetch"


def test_the_agent_may_be_a_capability_of_the_first_want() -> None:
    got = result(encode(b"want " + OID_1 + b" cap agent=git/foobar agent=other"))
    assert got.user_agent == "git/foobar"
    assert got.caps == ["cap", "agent=git/foobar", "agent=other"]


def test_the_last_deepen_and_the_last_filter_count() -> None:
    got = result(
        encode(b"deepen 1"),
        encode(b"deepen-since 123"),
        encode(b"deepen-not " + OID_2),
        encode(b"filter blob:none"),
        encode(b"filter blob:limit=1m"),
    )
    assert got.deepen == "deepen-not " + OID_2.decode()
    assert got.filter == "blob:limit=1m"


def test_only_one_newline_is_taken_off_a_line() -> None:
    assert result(encode(b"deepen 1\n\n")).deepen == "deepen 1\n"


def test_text_that_is_not_utf_8_is_replaced() -> None:
    assert result(encode(b"agent=git/\xff")).user_agent == "git/\ufffd"


def test_unknown_lines_are_only_counted() -> None:
    assert result(encode(b"want-ref refs/heads/main\n")) == Negotiation(payload_size=24, packets=1)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"want", "invalid 'want' for packet 1"),
        (b"have", "invalid 'have' for packet 1"),
        (b"have a b", "invalid 'have' for packet 1"),
        (b"have a ", "invalid 'have' for packet 1"),
        (b"shallow", "invalid 'shallow' for packet 1"),
        (b"deepen", "invalid 'deepen' for packet 1"),
        (b"deepen-since", "invalid 'deepen' for packet 1"),
        (b"deepen-not a b", "invalid 'deepen' for packet 1"),
        (b"filter", "invalid 'filter' for packet 1"),
        (b"want a cap", "capabilities announced multiple times in packet 1"),
    ],
)
def test_a_line_with_wrong_arguments_ends_the_parsing(line: bytes, error: str) -> None:
    parser = parsed(encode(b"want b cap"), encode(line), encode(b"have " + OID_1))
    assert (parser.error, parser.is_finished, parser.done) == (error, True, False)
    assert (parser.result.packets, parser.result.wants, parser.result.haves) == (1, 1, 0)


def test_after_an_error_no_deepen_was_seen() -> None:
    parser = parsed(encode(b"deepen 1"), encode(b"have"))
    assert parser.result.deepen == "deepen 1"
    assert not parser.saw_deepen


def test_bytes_that_are_no_packet_end_the_parsing() -> None:
    parser = parsed(encode(b"want " + OID_1 + b" cap"), FLUSH, b"0002xyz", encode(b"done"))
    assert parser.error is not None
    assert parser.result.packets == 3


@pytest.mark.parametrize("rest", [b"00", b"0009do"])
def test_an_end_inside_of_a_packet_is_an_error(rest: bytes) -> None:
    assert parsed(FLUSH, rest).error == "unexpected EOF"


def test_what_follows_done_is_not_read() -> None:
    parser = parsed(FULL_BLOWN, b"PACK garbage")
    parser.feed(b"more garbage")
    assert parser.result == FULL_BLOWN_RESULT
    assert parser.error is None


# The packet that ends the negotiation


@pytest.mark.parametrize("cut", range(len(SHORT) + 1))
def test_done_is_seen_wherever_the_bytes_are_cut(cut: int) -> None:
    watcher = PacketWatcher(DONE)
    watcher.feed(SHORT[:cut])
    assert watcher.seen == (cut == len(SHORT))
    watcher.feed(memoryview(SHORT)[cut:])
    assert watcher.seen


@pytest.mark.parametrize("packet", [b"0008done", b"000adone\n\n", b"000d0009done\n", b"0000"])
def test_only_the_very_packet_is_done(packet: bytes) -> None:
    watcher = PacketWatcher(DONE)
    watcher.feed(packet)
    watcher.at_end()
    assert (watcher.seen, watcher.error) == (False, None)


def test_the_arguments_of_upload_archive_end_with_a_flush() -> None:
    watcher = PacketWatcher(END_OF_ARGUMENTS)
    watcher.feed(encode(b"argument --format=tar\n") + encode(b"argument main\n"))
    assert not watcher.seen
    watcher.feed(b"0000")
    assert (watcher.seen, watcher.is_finished) == (True, True)


@pytest.mark.parametrize("stream", [b"not packets", b"fff1", b"0009done\r\n0009do"])
def test_a_stream_that_cannot_be_parsed_is_reported(stream: bytes) -> None:
    watcher = PacketWatcher(FLUSH)
    watcher.feed(stream)
    watcher.at_end()
    assert (watcher.seen, watcher.is_finished) == (False, True)
    assert watcher.error
    watcher.feed(b"0000")
    assert not watcher.seen


def test_what_follows_the_packet_may_be_anything() -> None:
    watcher = PacketWatcher(DONE)
    watcher.feed(DONE + b"garbage")
    watcher.feed(b"garbage")
    watcher.at_end()
    assert (watcher.seen, watcher.error) == (True, None)


@given(
    garbage=st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.binary(max_size=30).map(encode),
            st.sampled_from([b"want", b"have x", b"deepen 1", b"want a b"]).map(encode),
        )
    )
)
def test_garbage_never_raises(garbage: list[bytes]) -> None:
    parser, watcher = NegotiationParser(), PacketWatcher(DONE)
    for piece in garbage:
        parser.feed(piece)
        watcher.feed(piece)
    parser.at_end()
    watcher.at_end()
    assert parser.result.payload_size <= sum(map(len, garbage))
