"""Messages in a body, whatever pieces it comes in. Source: gRPC over HTTP/2."""

import gzip
import itertools
import os
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitaly.errors import Internal, NodeError, ResourceExhausted
from gitaly.rpc.framing import MOST_MESSAGE_BYTES, Cutter, prefix

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
ENCODED = pytest.mark.parametrize("encoding", ["gzip", "deflate"])


def framed(payload: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(payload)) + payload


def refusal(cutter: Cutter, wire: bytes) -> NodeError:
    with pytest.raises((Internal, ResourceExhausted)) as caught:
        cutter.feed(wire)
    assert isinstance(caught.value, NodeError)
    return caught.value


def test_an_answer_has_its_size_before_it_and_is_not_compressed() -> None:
    assert prefix(258).hex(" ") == "00 00 00 01 02"


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=8))
def test_messages_do_not_depend_on_where_the_body_is_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    wire = b"".join(framed(each) for each in messages)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    cutter = Cutter("identity")
    found = [m for a, b in itertools.pairwise(edges) for m in cutter.feed(wire[a:b])]
    assert found == messages
    assert cutter.is_between


@pytest.mark.parametrize("missing", [1, 3, 5, 9])
def test_half_a_message_is_not_the_end_of_one(missing: int) -> None:
    cutter = Cutter("identity")
    assert cutter.feed(framed(b"hello")[:-missing]) == []
    assert not cutter.is_between


def test_an_empty_message_is_one() -> None:
    assert Cutter("identity").feed(framed(b"") * 3) == [b"", b"", b""]


def test_a_message_may_be_as_large_as_the_limit() -> None:
    message = bytes(MOST_MESSAGE_BYTES)
    wire = framed(message)
    assert Cutter("identity").feed(wire) == [message]
    cutter = Cutter("identity")
    found = [m for at in range(0, len(wire), 16_384) for m in cutter.feed(wire[at : at + 16_384])]
    assert found == [message]


@pytest.mark.parametrize("flag", [0, 1])
def test_a_larger_one_is_refused_before_it_has_come(flag: int) -> None:
    error = refusal(Cutter("gzip"), struct.pack(">BI", flag, MOST_MESSAGE_BYTES + 1))
    assert isinstance(error, ResourceExhausted)
    assert str(error) == "grpc: received message larger than max (4194305 vs. 4194304)"


def test_a_larger_one_is_refused_also_when_it_comes_at_once() -> None:
    wire = framed(bytes(MOST_MESSAGE_BYTES + 1))
    assert isinstance(refusal(Cutter("identity"), wire), ResourceExhausted)


@ENCODED
def test_a_compressed_message_is_unpacked(encoding: str) -> None:
    message = os.urandom(100_000) + bytes(100_000)
    packed = framed(PACK[encoding](message), 1)
    cutter = Cutter(encoding)
    found = [m for at in range(0, len(packed), 999) for m in cutter.feed(packed[at : at + 999])]
    assert found == [message]


@ENCODED
def test_a_client_that_compresses_may_send_some_messages_as_they_are(encoding: str) -> None:
    wire = framed(b"plain") + framed(PACK[encoding](b"packed"), 1) + framed(b"plain")
    assert Cutter(encoding).feed(wire) == [b"plain", b"packed", b"plain"]


@ENCODED
def test_a_bomb_is_refused_before_it_fills_memory(encoding: str) -> None:
    bomb = PACK[encoding](bytes(64 << 20))
    assert len(bomb) < MOST_MESSAGE_BYTES
    error = refusal(Cutter(encoding), framed(bomb, 1))
    assert isinstance(error, ResourceExhausted)


@ENCODED
def test_a_message_may_unpack_to_just_the_limit(encoding: str) -> None:
    message = bytes(MOST_MESSAGE_BYTES)
    assert Cutter(encoding).feed(framed(PACK[encoding](message), 1)) == [message]


@ENCODED
@pytest.mark.parametrize("damage", ["nonsense", "cut off", "more after it", "empty"])
def test_what_cannot_be_unpacked_is_refused(encoding: str, damage: str) -> None:
    good = PACK[encoding](b"hello" * 100)
    packed = {
        "nonsense": b"nonsense",
        "cut off": good[:-4],
        "more after it": good + good,
        "empty": b"",
    }[damage]
    error = refusal(Cutter(encoding), framed(packed, 1))
    assert isinstance(error, Internal)
    assert str(error).startswith("grpc: failed to decompress the received message")


def test_a_compressed_message_without_an_encoding_is_refused() -> None:
    error = refusal(Cutter("identity"), framed(b"x", 1))
    assert str(error) == "grpc: compressed flag set with identity or empty encoding"


@pytest.mark.parametrize("flag", [2, 255])
def test_an_unknown_flag_is_refused(flag: int) -> None:
    error = refusal(Cutter("gzip"), framed(gzip.compress(b"x"), flag))
    assert str(error) == f"grpc: received unexpected payload format {flag}"
