"""pkt-lines, as in gitprotocol-common(5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitaly.transport.pktline import (
    DELIM,
    FLUSH,
    MAX_DATA,
    RESPONSE_END,
    PktLineError,
    PktLineReader,
    encode,
    length_prefix,
    packet_size,
)

WIRE = b"0006a\n0005a000bfoobar\n00040000" + b"000100020003" + b"0009done\n"
PACKETS = [
    b"0006a\n",
    b"0005a",
    b"000bfoobar\n",
    b"0004",
    FLUSH,
    DELIM,
    RESPONSE_END,
    b"0003",
    b"0009done\n",
]


@pytest.mark.parametrize(
    ("payload", "packet"),
    [(b"a\n", b"0006a\n"), (b"foobar\n", b"000bfoobar\n"), (b"", b"0004")],
)
def test_a_packet_begins_with_its_length_in_hex(payload: bytes, packet: bytes) -> None:
    assert encode(payload) == packet


def test_the_biggest_packet_has_65516_bytes_of_data() -> None:
    assert length_prefix(MAX_DATA) == b"fff0"
    with pytest.raises(ValueError, match="65517 bytes do not fit"):
        encode(bytes(65_517))


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_packets_do_not_depend_on_where_the_network_cuts_them(cut: int) -> None:
    reader = PktLineReader()
    assert [*reader.receive(WIRE[:cut]), *reader.receive(memoryview(WIRE)[cut:])] == PACKETS
    reader.at_end()


def test_packets_may_come_byte_by_byte() -> None:
    reader = PktLineReader()
    assert [packet for byte in WIRE for packet in reader.receive(bytes([byte]))] == PACKETS


@pytest.mark.parametrize(
    "digits", [b"zzzz", b"+00a", b"-001", b"0x10", b" 010", b"1_00", b"\xff000"]
)
def test_a_length_that_is_not_hex_is_an_error(digits: bytes) -> None:
    reader = PktLineReader()
    with pytest.raises(PktLineError, match="invalid packet length"):
        list(reader.receive(digits + b"data"))


@pytest.mark.parametrize("digits", [b"fff0", b"FFF0", b"FfF0"])
def test_lengths_up_to_65520_are_taken_in_both_cases(digits: bytes) -> None:
    assert packet_size(digits) == 65_520


def test_a_longer_packet_is_an_error_before_it_is_read() -> None:
    reader = PktLineReader()
    with pytest.raises(PktLineError, match="65521 is more than 65520"):
        list(reader.receive(b"fff1"))


def test_packets_before_the_error_are_not_lost() -> None:
    packets = PktLineReader().receive(b"0006a\n0000nope")
    assert [next(packets), next(packets)] == [b"0006a\n", FLUSH]
    with pytest.raises(PktLineError):
        next(packets)


@pytest.mark.parametrize("rest", [b"0", b"000", b"0006", b"0006a"])
def test_an_end_inside_of_a_packet_is_an_error(rest: bytes) -> None:
    reader = PktLineReader()
    assert list(reader.receive(FLUSH + rest)) == [FLUSH]
    with pytest.raises(PktLineError, match="unexpected EOF"):
        reader.at_end()


@given(
    payloads=st.lists(st.binary(max_size=200)),
    cuts=st.lists(st.integers(1, 60), min_size=1),
)
def test_what_is_encoded_is_read_again(payloads: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(map(encode, payloads))
    reader = PktLineReader()
    got: list[bytes] = []
    at = 0
    while at < len(wire):
        for cut in cuts:
            got += reader.receive(wire[at : at + cut])
            at += cut
    assert [packet[4:] for packet in got] == payloads
    reader.at_end()


@given(garbage=st.binary(max_size=400))
def test_garbage_raises_at_most_a_pkt_line_error(garbage: bytes) -> None:
    reader = PktLineReader()
    try:
        packets = list(reader.receive(garbage))
    except PktLineError:
        return
    assert garbage.startswith(b"".join(packets))
