"""A GOAWAY between the frames of a server, wherever the network cuts them."""

import itertools
import random

import pytest

from gitaly.transport.goodbye import GOAWAY, Goodbye


def frame(kind: int, payload: bytes, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + stream.to_bytes(4, "big") + payload


FRAMES = [
    frame(4, b""),  # SETTINGS come first
    frame(4, b"123456"),
    frame(1, b"headers", 1),
    frame(0, bytes(300), 1),
    frame(0, b"", 1),
    frame(1, b"trailers", 1),
]
WIRE = b"".join(FRAMES)
BORDERS = [len(b"".join(FRAMES[:count])) for count in range(1, len(FRAMES) + 1)]


def sent(goodbye: Goodbye, *chunks: bytes) -> bytes:
    return b"".join(bytes(x) for chunk in chunks for x in goodbye.pieces(memoryview(chunk)))


def test_the_frame_is_what_the_standard_says() -> None:
    assert bytes.fromhex("000008 07 00 00000000 7fffffff 00000000") == GOAWAY


@pytest.mark.parametrize("asked", range(len(WIRE) + 1))
def test_it_comes_at_the_next_border_of_two_frames_and_nothing_else_changes(asked: int) -> None:
    goodbye = Goodbye()
    before = sent(goodbye, WIRE[:asked])
    said = before + goodbye.ask() + sent(goodbye, WIRE[asked:])
    border = next(border for border in BORDERS if border >= asked)
    assert said == WIRE[:border] + GOAWAY + WIRE[border:]


def test_it_does_not_depend_on_where_the_network_cuts() -> None:
    dice = random.Random(1)
    for _ in range(500):
        asked = dice.randrange(len(WIRE) + 1)
        cuts = sorted({0, asked, len(WIRE), *dice.choices(range(len(WIRE)), k=12)})
        goodbye, said = Goodbye(), b""
        for start, end in itertools.pairwise(cuts):
            if start == asked:
                said += goodbye.ask()
            said += sent(goodbye, WIRE[start:end])
        said += goodbye.ask() if asked == len(WIRE) else b""
        border = next(border for border in BORDERS if border >= asked)
        assert said == WIRE[:border] + GOAWAY + WIRE[border:]


def test_without_being_asked_nothing_is_added() -> None:
    goodbye = Goodbye()
    assert sent(goodbye, *(WIRE[at : at + 1] for at in range(len(WIRE)))) == WIRE


def test_it_is_said_once_for_each_time_it_is_asked() -> None:
    goodbye = Goodbye()
    sent(goodbye, WIRE)
    assert goodbye.ask() == GOAWAY
    assert sent(goodbye, WIRE) == WIRE
