import pytest

from gitaly.git.diffs import CommitPair, DiffUnreadable, RangeDiffEvent
from gitaly.git.diffs.range_diff import RangeDiffParser

A, B = "a" * 40, "b" * 40
OUTPUT = (
    f"-:  {'-' * 40} >  1:  {B} Main: moves\n"
    f" 9:  {A} = 10:  {B} First patch\n"
    f"10:  {A} ! 11:  {B} Edited \xfc\n"
    "    @@ file\n"
    "     +line\n"
    "    \n"
    f"11:  {A} <  -:  {'-' * 40} Dropped\n"
).encode("latin-1")
FOUND = [
    (CommitPair("-" * 40, B, ">", b"Main: moves"), b""),
    (CommitPair(A, B, "=", b"First patch"), b""),
    (CommitPair(A, B, "!", b"Edited \xfc"), b"@@ file\n +line\n\n"),
    (CommitPair(A, "-" * 40, "<", b"Dropped"), b""),
]


def pairs_of(events: list[RangeDiffEvent]) -> list[tuple[CommitPair, bytes]]:
    found: list[tuple[CommitPair, bytes]] = []
    for event in events:
        if isinstance(event, CommitPair):
            found.append((event, b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + event)
    return found


@pytest.mark.parametrize("cut", range(len(OUTPUT) + 1))
def test_pairs_do_not_depend_on_where_the_pipe_cuts(cut: int) -> None:
    parser = RangeDiffParser()
    events = parser.receive(OUTPUT[:cut]) + parser.receive(OUTPUT[cut:]) + parser.finish()
    assert pairs_of(events) == FOUND


def test_the_last_line_may_lack_its_end() -> None:
    parser = RangeDiffParser()
    assert pairs_of(parser.receive(OUTPUT[:-1]) + parser.finish()) == FOUND


@pytest.mark.parametrize("output", [b"    text before any pair\n", OUTPUT + b"  x\n"])
def test_a_line_that_is_nothing_is_unreadable(output: bytes) -> None:
    with pytest.raises(DiffUnreadable):
        RangeDiffParser().receive(output)
