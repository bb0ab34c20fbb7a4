"""The fields that end an answer. Source: gRPC over HTTP/2, Responses."""

from collections.abc import Sequence

import grpc
import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from gitaly.rpc import answer_fields
from gitaly.rpc.answer_fields import cut, last, only, percent_encoded

INTERNAL, OK = grpc.StatusCode.INTERNAL, grpc.StatusCode.OK
MUCH = 1 << 20


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    found = Decoder(max_header_list_size=1 << 24).decode(block, raw=True)
    return [(bytes(name), bytes(value)) for name, value in found]


def list_bytes(block: bytes) -> int:
    return sum(len(name) + len(value) + 32 for name, value in decoded(block))


def fields(
    message: str = "", *metadata: tuple[str, str | bytes], most: int = MUCH
) -> list[tuple[bytes, bytes]]:
    return decoded(last(INTERNAL, message, metadata, most))


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", b""),
        ("plain text ~!", b"plain text ~!"),
        ("100%", b"100%25"),
        ("two\nlines\r", b"two%0Alines%0D"),
        ("\0\x1f\x7f", b"%00%1F%7F"),
        ("é", b"%C3%A9"),
        ("a 😀", b"a %F0%9F%98%80"),
        ("bytes \udcff of a path", b"bytes %FF of a path"),
        ("half \ud83d of a sign", b"half %ED%A0%BD of a sign"),
    ],
)
def test_a_text_is_percent_encoded(text: str, encoded: bytes) -> None:
    assert percent_encoded(text) == encoded


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_said_in_plain_signs(text: str) -> None:
    assert all(0x20 <= byte < 0x7F for byte in percent_encoded(text))


@pytest.mark.parametrize("most", range(12))
def test_a_text_is_never_cut_within_an_encoded_byte(most: int) -> None:
    assert cut(b"a%C3%A9b%25", most) in (
        b"",
        b"a",
        b"a%C3",
        b"a%C3%A9",
        b"a%C3%A9b",
        b"a%C3%A9b%25",
    )
    assert len(cut(b"a%C3%A9b%25", most)) > most - 3


def test_success_is_one_field() -> None:
    assert decoded(last(OK, "", (), MUCH)) == [(b"grpc-status", b"0")]


def test_an_error_has_its_number_its_text_and_its_metadata() -> None:
    assert fields("why", ("a", "b"), ("x-bin", b"\xff\xfe")) == [
        (b"grpc-status", b"13"),
        (b"grpc-message", b"why"),
        (b"a", b"b"),
        (b"x-bin", b"//4"),
    ]


def test_an_error_without_a_text_has_none() -> None:
    assert fields() == [(b"grpc-status", b"13")]


def test_an_answer_without_messages_is_one_block() -> None:
    assert decoded(only(last(INTERNAL, "why", (), MUCH))) == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-accept-encoding", b"identity,gzip,deflate"),
        (b"grpc-status", b"13"),
        (b"grpc-message", b"why"),
    ]


LONG: Sequence[tuple[str, tuple[tuple[str, str | bytes], ...]]] = [
    ("x" * 100_000, ()),
    ("é" * 100_000, ()),
    ("why", (("x-bin", bytes(100_000)),)),
    ("x" * 10_000, (("x-bin", bytes(10_000)), ("small", "value"))),
    ("", tuple((f"name-{n}", "v" * 50) for n in range(1000))),
]


@pytest.mark.parametrize(("message", "metadata"), LONG)
@pytest.mark.parametrize("most", [600, 8192, 16_384])
def test_a_client_gets_no_more_than_it_takes(
    message: str, metadata: tuple[tuple[str, str | bytes], ...], most: int
) -> None:
    block = last(INTERNAL, message, metadata, most)
    assert list_bytes(only(block)) <= most
    found = dict(decoded(block))
    assert found[b"grpc-status"] == b"13"
    assert bool(message) == (b"grpc-message" in found)


def test_the_longest_values_are_left_out_first() -> None:
    found = dict(fields("why", ("long-bin", bytes(9000)), ("short", "value"), most=8192))
    assert found == {b"grpc-status": b"13", b"grpc-message": b"why", b"short": b"value"}


@pytest.mark.parametrize("most", [0, 1, 100, 300])
def test_a_client_that_takes_nothing_still_gets_a_status_and_the_beginning_of_a_text(
    most: int,
) -> None:
    found = dict(fields("x" * 1000, ("a", "b" * 1000), most=most))
    assert found[b"grpc-status"] == b"13"
    assert found[b"grpc-message"].startswith(b"x" * answer_fields.LEAST_TEXT_BYTES)
    assert len(found[b"grpc-message"]) <= answer_fields.LEAST_TEXT_BYTES
