"""Opening a sidechannel and the framing of what its client sends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitaly.transport.sidechannel import (
    CONFIRMATION,
    ClientHandshake,
    InputDecoder,
    InputEncoder,
    ServerHandshake,
    SidechannelBroken,
    SidechannelFailed,
    parse_id,
)

OPENING = b"sidechannel" + bytes.fromhex("00 00 00 00 00 00 01 02")
WIRE = b"0009Hello" + b"0004" + b"0007, ?" + b"0000"


def decoded(decoder: InputDecoder, wire: bytes) -> bytes:
    return b"".join(decoder.receive(memoryview(wire)))


# Opening


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("17", 17),
        ("+17", 17),
        ("-1", -1),
        ("0017", 17),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2**63 - 1),
        ("-99999999999999999999999", -(2**63)),
        ("0" * 5000 + "7", 7),
        ("9" * 5000, 2**63 - 1),
        ("", 0),
        ("x", 0),
        ("1_0", 0),
        (" 1", 0),
        ("1\n", 0),
        ("٣", 0),
    ],
)
def test_an_id_is_a_decimal_number_and_anything_else_is_0(text: str, number: int) -> None:
    assert parse_id(text) == number


def test_the_node_begins_with_magic_and_id() -> None:
    assert ServerHandshake(258).greeting == OPENING
    assert ServerHandshake(-1).greeting[11:] == b"\xff" * 8


@pytest.mark.parametrize("cut", range(7))
def test_the_node_waits_for_ok_and_hands_on_what_follows(cut: int) -> None:
    handshake = ServerHandshake(1)
    wire = memoryview(b"ok0000")
    first = handshake.receive(wire[:cut])
    second = wire[cut:] if first is not None else handshake.receive(wire[cut:])
    assert second is not None
    assert bytes(first or b"") + bytes(second) == b"0000"


@pytest.mark.parametrize(
    ("answer", "shown"), [(b"no", '"no"'), (b"\x00\n", r'"\x00\n"'), (b'"\\', r'"\"\\"')]
)
def test_another_answer_than_ok_is_an_error(answer: bytes, shown: str) -> None:
    with pytest.raises(SidechannelFailed) as caught:
        ServerHandshake(1).receive(memoryview(answer))
    assert str(caught.value) == f"sidechannel: expected ok, got {shown}"


@pytest.mark.parametrize(("answer", "reason"), [(b"", "EOF"), (b"o", "unexpected EOF")])
def test_a_client_that_ends_instead_of_agreeing_is_an_error(answer: bytes, reason: str) -> None:
    handshake = ServerHandshake(1)
    handshake.receive(memoryview(answer))
    assert str(handshake.at_end()) == f"sidechannel: receive confirmation: {reason}"


@pytest.mark.parametrize("cut", range(len(OPENING)))
def test_the_client_reads_the_id_and_hands_on_what_follows(cut: int) -> None:
    handshake = ClientHandshake()
    wire = memoryview(OPENING + b"pack")
    assert handshake.receive(wire[:cut]) is None
    assert handshake.sidechannel_id is None
    assert bytes(handshake.receive(wire[cut:]) or b"") == b"pack"
    assert handshake.sidechannel_id == 258


@pytest.mark.parametrize("first", [b"PRI * HTTP/2.0\r\n\r\n", b"P", b"sidecar"])
def test_the_client_notices_a_stream_that_is_no_sidechannel(first: bytes) -> None:
    with pytest.raises(SidechannelFailed, match="unexpected first bytes"):
        ClientHandshake().receive(memoryview(first))


def test_both_sides_understand_each_other() -> None:
    server, client = ServerHandshake(2**63 - 1), ClientHandshake()
    assert client.receive(memoryview(server.greeting)) is not None
    assert client.sidechannel_id == 2**63 - 1
    assert server.receive(memoryview(CONFIRMATION)) is not None


# Input of the client


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_frames_do_not_depend_on_where_the_network_cuts_them(cut: int) -> None:
    decoder = InputDecoder()
    assert decoded(decoder, WIRE[:cut]) + decoded(decoder, WIRE[cut:]) == b"Hello, ?"
    assert decoder.is_ended
    decoder.at_end()


def test_frames_may_come_byte_by_byte() -> None:
    decoder = InputDecoder()
    assert b"".join(decoded(decoder, bytes([byte])) for byte in WIRE) == b"Hello, ?"
    assert decoder.is_ended


def test_payload_is_not_copied() -> None:
    wire = bytearray(b"0009Hello")
    [piece] = InputDecoder().receive(memoryview(wire))
    wire[4:] = b"HELLO"
    assert bytes(piece) == b"HELLO"


def test_what_follows_the_end_of_input_is_ignored() -> None:
    decoder = InputDecoder()
    assert decoded(decoder, b"0005x0000zzzz") == b"x"
    assert decoded(decoder, b"0005y") == b""


@pytest.mark.parametrize("header", ["1", "2", "3"])
def test_special_packets_of_git_are_no_frames(header: str) -> None:
    with pytest.raises(SidechannelFailed) as caught:
        decoded(InputDecoder(), b"000" + header.encode())
    assert str(caught.value) == f"sidechannel: invalid header {header}"


@pytest.mark.parametrize("header", [b"zzzz", b"-001", b"fff1", b"ffff"])
def test_an_impossible_length_is_an_error(header: bytes) -> None:
    with pytest.raises(SidechannelFailed, match="invalid packet length"):
        decoded(InputDecoder(), header)


def test_data_before_an_error_are_handed_on() -> None:
    pieces = InputDecoder().receive(memoryview(b"0005x0001"))
    assert bytes(next(pieces)) == b"x"
    with pytest.raises(SidechannelFailed):
        next(pieces)


@pytest.mark.parametrize("wire", [b"", b"00", b"0009Hel", b"0009Hello"])
def test_an_end_without_0000_is_an_error(wire: bytes) -> None:
    decoder = InputDecoder()
    decoded(decoder, wire)
    with pytest.raises(SidechannelBroken, match="unexpected EOF"):
        decoder.at_end()


def test_the_client_cuts_its_input_into_frames_of_65520_bytes() -> None:
    data = bytes(65_517)
    headers = InputEncoder().encode(memoryview(data))[::2]
    assert headers == [b"fff0", b"0005"]
    assert InputEncoder().encode(memoryview(b"")) == []


def test_the_client_ends_its_input_once_and_writes_no_more() -> None:
    encoder = InputEncoder()
    assert b"".join(encoder.encode(memoryview(b"Hello"))) == b"0009Hello"
    assert [encoder.finish(), encoder.finish()] == [b"0000", b""]
    with pytest.raises(ValueError, match="sidechannel: write into a half-closed connection"):
        encoder.encode(memoryview(b"x"))


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 150_000), max_size=4),
    chunk=st.integers(1000, 100_000),
)
def test_what_is_encoded_is_decoded_again(sizes: list[int], chunk: int) -> None:
    encoder, decoder = InputEncoder(), InputDecoder()
    parts = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    frames = b"".join(b"".join(encoder.encode(memoryview(part))) for part in parts)
    wire = frames + encoder.finish()
    got = b"".join(decoded(decoder, wire[at : at + chunk]) for at in range(0, len(wire), chunk))
    assert got == b"".join(parts)
    decoder.at_end()


@given(garbage=st.binary(max_size=400))
def test_garbage_raises_at_most_a_sidechannel_error(garbage: bytes) -> None:
    try:
        assert len(decoded(InputDecoder(), garbage)) <= len(garbage)
    except SidechannelFailed:
        return
