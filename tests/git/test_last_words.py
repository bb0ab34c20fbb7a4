from collections.abc import Sequence

import pytest

from gitaly.git import StoppedByLimit
from gitaly.git.last_words import GIVING_UP, MOST_BYTES, LastWords

STOPPED = StoppedByLimit("git pack-objects was stopped: why")
OF_GIT = ("2.39", "2.47")  # that send it so
EXPLAINED = b"002e\x02error: git pack-objects was stopped: why\n"


class Heard:
    """A client that takes everything."""

    def __init__(self) -> None:
        self.data = b""

    async def room(self, at_least: int = 1) -> int:
        return max(at_least, 1 << 20)

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        self.data += b"".join(buffers)


@pytest.mark.parametrize("lament", GIVING_UP, ids=OF_GIT)
@pytest.mark.parametrize("cut", [0, 5, MOST_BYTES])
def test_the_cause_comes_before_the_lament_however_it_is_cut(cut: int, lament: bytes) -> None:
    heard = Heard()
    words = LastWords(heard)
    words.write([memoryview(b"0008\x02abc" + lament[:cut])])
    if rest := lament[cut:]:
        words.write([memoryview(rest)])
    words.explain(STOPPED)
    assert heard.data == b"0008\x02abc" + EXPLAINED + lament


@pytest.mark.parametrize("lament", GIVING_UP, ids=OF_GIT)
@pytest.mark.parametrize("cut", range(MOST_BYTES + 1))
def test_without_a_cause_nothing_is_added_or_lost(cut: int, lament: bytes) -> None:
    heard = Heard()
    words = LastWords(heard)
    words.write([memoryview(b"abc" + lament[:cut])])
    words.write([memoryview(lament[cut:] + b"def")])
    words.write([memoryview(b"x" * 1000 + lament[:cut])])
    words.release()
    assert heard.data == b"abc" + lament + b"def" + b"x" * 1000 + lament[:cut]


def test_a_cause_is_not_put_into_the_middle_of_something_else() -> None:
    heard = Heard()
    words = LastWords(heard)
    words.write([memoryview(b"half a packe")])
    words.explain(STOPPED)
    assert heard.data == b"half a packe"
