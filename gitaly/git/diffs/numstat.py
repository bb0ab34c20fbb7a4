"""The output of `git diff --numstat -z`: how many lines each file gained and lost."""

from collections.abc import Sequence
from typing import NamedTuple

from gitaly.git.diffs.raw import DiffUnreadable


class LineCounts(NamedTuple):
    """Of one file; 0 and 0 if it is binary."""

    path: bytes
    old_path: bytes  # empty: it has not been renamed
    additions: int
    deletions: int


class NumstatParser:
    """Takes the records between the NULs, in lists of any length."""

    def __init__(self) -> None:
        self._renamed: list[bytes] = []  # counts, and then the old name, of what is not complete

    def receive(self, records: Sequence[bytes]) -> list[LineCounts]:
        """What is complete now. Raises DiffUnreadable."""
        found: list[LineCounts] = []
        renamed = self._renamed
        try:
            for record in records:
                if renamed:
                    renamed.append(record)
                    if len(renamed) == 4:
                        added, removed, old_path, path = renamed
                        found.append(_counted(path, old_path, added, removed))
                        renamed.clear()
                elif record:
                    added, removed, path = record.split(b"\t", 2)
                    if path:
                        found.append(_counted(path, b"", added, removed))
                    else:
                        renamed += [added, removed]
        except ValueError:
            raise DiffUnreadable("error converting diff num stat") from None
        return found

    def finish(self) -> None:
        """Nothing follows. Raises DiffUnreadable if something is missing."""
        if self._renamed:
            raise DiffUnreadable("EOF")


def _counted(path: bytes, old_path: bytes, added: bytes, removed: bytes) -> LineCounts:
    if added == b"-":
        return LineCounts(path, old_path, 0, 0)
    return LineCounts(path, old_path, int(added), int(removed))
