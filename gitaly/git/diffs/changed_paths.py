"""The output of `git diff-tree --stdin -z -r`: changed paths of commits, merges and trees."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from gitaly.git.diffs.raw import DiffUnreadable

_ID_LENGTHS: Final = (40, 64)


class ChangedPath(NamedTuple):
    """One path, compared with one parent."""

    status: str  # A, C, D, M, R, T
    path: bytes
    old_path: bytes  # only of renames and copies; empty otherwise
    old_mode: int
    new_mode: int
    old_id: str
    new_id: str
    commit_id: str  # empty: git was not asked for it


class ChangedPathsParser:
    """Takes the records between the NULs, in lists of any length.

    A record of combined diffs (-c) has as many colons as there are parents, and gives as many
    entries.
    """

    def __init__(self) -> None:
        self._commit_id = ""
        self._head: list[str] = []  # of the record whose paths are still to come
        self._old_path: bytes | None = None

    def receive(self, records: Sequence[bytes]) -> list[ChangedPath]:
        """What is complete now. Raises DiffUnreadable."""
        found: list[ChangedPath] = []
        for record in records:
            if not self._head:
                self._read_head(record)
            elif self._head[-1] in ("R", "C") and self._old_path is None:
                self._old_path = record
            else:
                found += _entries(self._head, record, self._old_path or b"", self._commit_id)
                self._head, self._old_path = [], None
        return found

    def finish(self) -> None:
        """Nothing follows. Raises DiffUnreadable if something is missing."""
        if self._head:
            raise DiffUnreadable("next path err: EOF")

    def _read_head(self, record: bytes) -> None:
        """A commit's id, or modes, ids and states, before which two trees' ids may stand."""
        before, colon, rest = record.partition(b":")
        commit_id = before.strip()
        if len(commit_id) in _ID_LENGTHS:
            self._commit_id = commit_id.decode("ascii", "replace")
        if not colon:
            return
        *fields, states = rest.lstrip(b":").decode("ascii", "replace").split(" ")
        letters = "".join(letter for letter in states if not letter.isdigit())
        parents = len(rest) - len(rest.lstrip(b":")) + 1
        if len(fields) != 2 * parents + 2 or len(letters) != parents:
            raise DiffUnreadable("git diff-tree parsing failed")
        self._head = [*fields, letters]


def _entries(head: list[str], path: bytes, old_path: bytes, commit_id: str) -> list[ChangedPath]:
    letters = head[-1]
    parents = len(letters)
    try:
        modes = [int(mode, 8) for mode in head[: parents + 1]]
    except ValueError:
        raise DiffUnreadable("git diff-tree parsing failed") from None
    ids = head[parents + 1 : -1]
    return [
        ChangedPath(letter, path, old_path, modes[i], modes[-1], ids[i], ids[-1], commit_id)
        for i, letter in enumerate(letters)
    ]
