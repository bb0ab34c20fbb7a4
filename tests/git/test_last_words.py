from collections.abc import Sequence

import pytest

from gitaly.git import StoppedByLimit
from gitaly.git.last_words import GIVING_UP, LastWords

STOPPED = StoppedByLimit("git pack-objects was stopped: why")
EXPLAINED = b"002e\x02error: git pack-objects was stopped: why\n"


class Heard:
    """A client that takes everything."""

    def __init__(self) -> None:
        self.data = b""

    async def room(self, at_least: int = 1) -> int:
        return max(at_least, 1 << 20)

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        self.data += b"".join(buffers)


@pytest.mark.parametrize("cut", [0, 5, len(GIVING_UP)])
def test_the_cause_comes_before_the_lament_however_it_is_cut(cut: int) -> None:
    heard = Heard()
    words = LastWords(heard)
    words.write([memoryview(b"0008\x02abc" + GIVING_UP[:cut])])
    if rest := GIVING_UP[cut:]:
        words.write([memoryview(rest)])
    words.explain(STOPPED)
    assert heard.data == b"0008\x02abc" + EXPLAINED + GIVING_UP


@pytest.mark.parametrize("cut", range(len(GIVING_UP) + 1))
def test_without_a_cause_nothing_is_added_or_lost(cut: int) -> None:
    heard = Heard()
    words = LastWords(heard)
    words.write([memoryview(b"abc" + GIVING_UP[:cut])])
    words.write([memoryview(GIVING_UP[cut:] + b"def")])
    words.write([memoryview(b"x" * 1000 + GIVING_UP[:cut])])
    words.release()
    assert heard.data == b"abc" + GIVING_UP + b"def" + b"x" * 1000 + GIVING_UP[:cut]


def test_a_cause_is_not_put_into_the_middle_of_something_else() -> None:
    heard = Heard()
    words = LastWords(heard)
    words.write([memoryview(b"half a packe")])
    words.explain(STOPPED)
    assert heard.data == b"half a packe"
