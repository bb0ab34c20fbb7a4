"""side-band-64k, as the SSH sidechannel uses it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitaly.transport.pktline import PktLineError
from gitaly.transport.sideband import MAX_DATA, STDERR, STDOUT, SidebandDecoder, frames

WIRE = b"000a\x01hello" + b"0005\x02" + b"0007\x02no" + b"0006\x01!"


def wire_of(band: int, data: bytes) -> bytes:
    return b"".join(frames(band, memoryview(data)))


def joined(pieces: list[tuple[int, memoryview]]) -> list[tuple[int, bytes]]:
    """Pieces of the same band that follow each other, as one."""
    result: list[tuple[int, bytes]] = []
    for band, piece in pieces:
        assert piece
        if result and result[-1][0] == band:
            result[-1] = (band, result[-1][1] + piece)
        else:
            result.append((band, bytes(piece)))
    return result


def test_a_small_buffer_is_one_packet() -> None:
    assert wire_of(STDOUT, b"hello") == b"000a\x01hello"
    assert wire_of(STDERR, b"no") == b"0007\x02no"


def test_no_data_are_no_packet() -> None:
    assert frames(STDOUT, memoryview(b"")) == []


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        (65_514, [b"ffef\x01"]),
        (65_515, [b"fff0\x01"]),
        (65_516, [b"fff0\x01", b"0006\x01"]),
        (131_030, [b"fff0\x01", b"fff0\x01"]),
        (262_144, [b"fff0\x01", b"fff0\x01", b"fff0\x01", b"fff0\x01", b"0059\x01"]),
    ],
)
def test_a_big_buffer_is_cut_into_packets_of_65520_bytes(size: int, sizes: list[bytes]) -> None:
    buffers = frames(STDOUT, memoryview(bytes(size)))
    assert buffers[::2] == sizes
    assert sum(map(len, buffers[1::2])) == size


def test_data_are_not_copied() -> None:
    data = bytearray(MAX_DATA + 1)
    _, first, _, second = frames(STDOUT, memoryview(data))
    data[0] = data[-1] = 7
    assert (first[0], second[0]) == (7, 7)


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_bands_do_not_depend_on_where_the_network_cuts_them(cut: int) -> None:
    decoder = SidebandDecoder()
    wire = memoryview(WIRE)
    pieces = [*decoder.receive(wire[:cut]), *decoder.receive(wire[cut:])]
    assert joined(pieces) == [(1, b"hello"), (2, b"no"), (1, b"!")]
    decoder.at_end()


@pytest.mark.parametrize("packet", [b"0000", b"0001", b"0002", b"0003", b"0004"])
def test_a_packet_without_a_band_is_an_error(packet: bytes) -> None:
    with pytest.raises(PktLineError, match=f'invalid sideband packet: "{packet.decode()}"'):
        list(SidebandDecoder().receive(memoryview(packet)))


@pytest.mark.parametrize("packet", [b"zzzz\x01", b"fff1\x01"])
def test_an_impossible_length_is_an_error(packet: bytes) -> None:
    with pytest.raises(PktLineError, match="invalid packet length"):
        list(SidebandDecoder().receive(memoryview(packet)))


@pytest.mark.parametrize("rest", [b"0", b"0006", b"0006\x01"])
def test_an_end_inside_of_a_packet_is_an_error(rest: bytes) -> None:
    decoder = SidebandDecoder()
    assert list(decoder.receive(memoryview(rest))) == []
    with pytest.raises(PktLineError, match="unexpected EOF"):
        decoder.at_end()


@settings(max_examples=50)
@given(
    parts=st.lists(st.tuples(st.integers(0, 255), st.integers(1, 200_000)), max_size=4),
    chunk=st.integers(1000, 100_000),
)
def test_what_is_framed_is_read_again(parts: list[tuple[int, int]], chunk: int) -> None:
    sent = [(band, bytes([number + 1]) * size) for number, (band, size) in enumerate(parts)]
    wire = memoryview(b"".join(wire_of(band, data) for band, data in sent))
    decoder = SidebandDecoder()
    pieces = [
        piece
        for at in range(0, len(wire), chunk)
        for piece in decoder.receive(wire[at : at + chunk])
    ]
    assert joined(pieces) == joined([(band, memoryview(data)) for band, data in sent])
    decoder.at_end()


@given(garbage=st.binary(max_size=400))
def test_garbage_raises_at_most_a_pkt_line_error(garbage: bytes) -> None:
    try:
        pieces = list(SidebandDecoder().receive(memoryview(garbage)))
    except PktLineError:
        return
    assert sum(len(piece) for _, piece in pieces) <= len(garbage)
