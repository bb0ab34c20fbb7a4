"""Cutting grep's output into hunks does not depend on where the pipe cuts it."""

import pytest

from gitaly.git.grep import Hunks

OUTPUT = b"m:a\x001\x00x\nm:a\x002\x00--\n--\nm:b\x001\x00-\nm:b\x002\x00\n--\nm:c\x003\x00--y\n"
HUNKS = [
    b"m:a\x001\x00x\nm:a\x002\x00--\n",
    b"m:b\x001\x00-\nm:b\x002\x00\n",
    b"m:c\x003\x00--y\n",
]


def hunks_of(*pieces: bytes) -> list[bytes]:
    hunks, found, current = Hunks(), [], b""
    events = [event for piece in pieces for event in hunks.receive(piece)]
    for event in [*events, *hunks.at_end()]:
        if event is None:
            found.append(current)
            current = b""
        else:
            assert event != b""
            current += event
    assert current == b""
    return found


@pytest.mark.parametrize("first", range(len(OUTPUT) + 1))
def test_cut_in_three_anywhere(first: int) -> None:
    for second in range(first, len(OUTPUT) + 1):
        assert hunks_of(OUTPUT[:first], OUTPUT[first:second], OUTPUT[second:]) == HUNKS


def test_no_output_has_no_hunk() -> None:
    assert hunks_of() == []
    assert hunks_of(b"") == []
