"""Counts of a patch, taken at once or piece by piece, are those of a reader of its lines."""

import random

import pytest

from gitaly.git.diffs import RawEntry
from gitaly.git.diffs.counting import PatchCounter, counts_of
from gitaly.git.diffs.limits import PatchSize

ENTRY = RawEntry(0o100644, 0o100644, "1" * 40, "2" * 40, "M", b"a", b"a")
LINES = (b"+a", b"-b", b" c", b"", b"+", b"-", b"++ x", b"-- y", b"~", b" @@", b"\\ No", b"+\r")


def any_patch(choices: random.Random) -> list[bytes]:
    """Its lines."""
    lines = [b"@@ -1 +1 @@"]
    for _ in range(choices.choice([0, 1, 5, 60])):
        header = b"@@ -%d +1 @@ f" % choices.randint(1, 10**6)
        lines.append(header if choices.random() < 0.1 else choices.choice(LINES))
    return lines


def counted(lines: list[bytes]) -> tuple[int, int, PatchSize]:
    """One by one."""
    content = [line for line in lines if not line.startswith(b"@@")]
    return (
        sum(line.startswith(b"+") for line in content),
        sum(line.startswith(b"-") for line in content),
        PatchSize(
            sum(len(line) + 1 for line in lines),
            len(content),
            sum(len(line) + 1 for line in content),
        ),
    )


@pytest.mark.parametrize("seed", range(100))
def test_a_whole_patch_has_the_counts_of_its_lines(seed: int) -> None:
    lines = any_patch(random.Random(seed))
    text = b"".join(line + b"\n" for line in lines)
    assert counts_of(text, exactly=True) == counted(lines)
    assert counts_of(text, exactly=False)[:2] == counted(lines)[:2]
    assert counts_of(text, exactly=False).size.length == len(text)


@pytest.mark.parametrize("seed", range(100))
def test_a_patch_in_pieces_has_the_counts_of_its_lines(seed: int) -> None:
    choices = random.Random(seed)
    lines = any_patch(choices)
    counter = PatchCounter(ENTRY, is_kept=True)
    start = 0
    while start < len(lines):
        end = start + choices.randint(1, 20)
        counter.count(b"".join(line + b"\n" for line in lines[start:end]))
        start = end
    assert (counter.added, counter.removed, counter.size) == counted(lines)


@pytest.mark.parametrize("exactly", [False, True])
@pytest.mark.parametrize("text", [b"", b"Binary files a/x and b/x differ\n"])
def test_a_patch_without_lines_adds_and_removes_none(text: bytes, *, exactly: bool) -> None:
    added, removed, size = counts_of(text, exactly=exactly)
    assert (added, removed, size.length) == (0, 0, len(text))
    assert not exactly or (size.lines, size.bytes) == (text.count(b"\n"), len(text))
