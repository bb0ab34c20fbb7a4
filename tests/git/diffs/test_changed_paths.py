import pytest

from gitaly.git.diffs import ChangedPath, DiffUnreadable
from gitaly.git.diffs.changed_paths import ChangedPathsParser

A, B, C = "a" * 40, "b" * 40, "c" * 40
COMMIT = "1" * 40
RECORDS = [
    COMMIT.encode(),
    f":100644 100755 {A} {B} M".encode(),
    b"one:path",
    f":100644 100644 {A} {B} R087".encode(),
    b"old",
    b"new",
    COMMIT.encode(),
    f"::100644 000000 100644 {A} {B} {C} MA".encode(),
    b"merged",
]
FOUND = [
    ChangedPath("M", b"one:path", b"", 0o100644, 0o100755, A, B, COMMIT),
    ChangedPath("R", b"new", b"old", 0o100644, 0o100644, A, B, COMMIT),
    ChangedPath("M", b"merged", b"", 0o100644, 0o100644, A, C, COMMIT),
    ChangedPath("A", b"merged", b"", 0, 0o100644, B, C, COMMIT),
]


@pytest.mark.parametrize("cut", range(len(RECORDS) + 1))
def test_records_may_come_in_any_portions(cut: int) -> None:
    parser = ChangedPathsParser()
    found = parser.receive(RECORDS[:cut]) + parser.receive(RECORDS[cut:])
    parser.finish()
    assert found == FOUND


def test_the_ids_of_compared_trees_are_no_commit() -> None:
    pair = f"{A} {B}\n".encode()
    records = [pair + pair + f":000000 100644 {'0' * 40} {B} A".encode(), b"path", pair]
    parser = ChangedPathsParser()
    [found] = parser.receive(records)
    parser.finish()
    assert found == ChangedPath("A", b"path", b"", 0, 0o100644, "0" * 40, B, "")


@pytest.mark.parametrize(
    "record", [b":", b":100644 M", b":1 2 3 4 5 M", b":1 2 a b MM", b"::1 2 3 a b c M"]
)
def test_a_record_that_is_none_is_unreadable(record: bytes) -> None:
    with pytest.raises(DiffUnreadable):
        ChangedPathsParser().receive([record])


def test_a_record_without_its_path_is_unreadable() -> None:
    parser = ChangedPathsParser()
    parser.receive(RECORDS[:2])
    with pytest.raises(DiffUnreadable):
        parser.finish()
