import pytest

from gitaly.git.diffs import DiffUnreadable, LineCounts
from gitaly.git.diffs.numstat import NumstatParser
from tests.git.diffs.support import LEFT, RIGHT, git_output, write_tree
from tests.git.support import Bare

OUTPUT = b"1\t2\ta\tb\0-\t-\tbinary\x003\t0\t\0old\0new\x000\t0\tlast\0"
FOUND = [
    LineCounts(b"a\tb", b"", 1, 2),
    LineCounts(b"binary", b"", 0, 0),
    LineCounts(b"new", b"old", 3, 0),
    LineCounts(b"last", b"", 0, 0),
]


@pytest.mark.parametrize("cut", range(9))
def test_records_may_come_in_any_portions(cut: int) -> None:
    parser = NumstatParser()
    records = OUTPUT.split(b"\0")
    found = parser.receive(records[:cut]) + parser.receive(records[cut:])
    parser.finish()
    assert found == FOUND


@pytest.mark.parametrize("record", [b"x", b"1\t2", b"x\ty\tz", b"1\t-\tz"])
def test_a_record_that_is_none_is_unreadable(record: bytes) -> None:
    with pytest.raises(DiffUnreadable):
        NumstatParser().receive([record])


def test_a_rename_without_its_names_is_unreadable() -> None:
    parser = NumstatParser()
    parser.receive([b"1\t2\t", b"old"])
    with pytest.raises(DiffUnreadable):
        parser.finish()


def test_git_is_understood(repository: Bare) -> None:
    left, right = write_tree(repository, LEFT), write_tree(repository, RIGHT)
    parser = NumstatParser()
    found = parser.receive(
        git_output(repository, "diff", "--numstat", "-z", left, right).split(b"\0")
    )
    parser.finish()
    assert [(x.path, x.old_path, x.additions, x.deletions) for x in found] == [
        (b"a/deep/er.txt", b"", 2, 1),
        (b"added", b"", 3, 0),
        (b"added empty", b"", 0, 0),
        (b"binary", b"", 0, 0),
        (b"dash dash", b"", 3, 3),
        (b"deleted", b"", 0, 2),
        (b"link", b"", 1, 1),
        (b"long", b"", 2, 0),
        (b"mode", b"", 0, 0),
        (b"moved to", b"moved from", 1, 1),
        (b"no end", b"", 1, 1),
        (b"odd \xff\ttab", b"", 1, 1),
        (b"type", b"", 1, 1),
        (b"white", b"", 1, 1),
        (b"x b/y", b"", 1, 1),
    ]
