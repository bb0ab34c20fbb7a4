"""The raw format of git's diffs: one record for each changed file. Source: git-diff(1)."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from gitaly.errors import Internal
from gitaly.git.c_quoting import c_unquoted

# Modes, ids, the status, and names as git quotes them: without tab and line feed.
_LINE: Final = re.compile(
    rb":([0-7]+) ([0-7]+) ([0-9a-f]+) ([0-9a-f]+) ([A-Z])[0-9]*\t([^\t]+)(?:\t([^\t]+))?"
)


class DiffUnreadable(Internal):
    """Git's output is not what its manual says."""


class RawEntry(NamedTuple):
    """One changed file. Paths are raw bytes; ids are in full."""

    old_mode: int
    new_mode: int
    old_id: str
    new_id: str
    status: str  # a letter: A, C, D, M, R, T, U, X
    old_path: bytes
    new_path: bytes  # differs from `old_path` only if the status is C or R

    def without_type_change(self) -> "tuple[RawEntry, ...]":
        """Itself; but what became another type of object is a deletion, and then an addition."""
        if self.status != "T":
            return (self,)
        null, path = "0" * len(self.old_id), self.old_path
        return (
            RawEntry(self.old_mode, 0, self.old_id, null, "D", path, path),
            RawEntry(0, self.new_mode, null, self.new_id, "A", path, path),
        )


def parse_line(line: bytes) -> tuple[RawEntry, bytes, bytes]:
    """An entry of the format without -z, and its names as git quoted them.

    Raises DiffUnreadable.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise DiffUnreadable("raw line regexp mismatch")
    old_mode, new_mode, old_id, new_id, status, old_name, new_name = found.groups()
    if status not in b"CR":
        new_name = old_name
    elif new_name is None:
        raise DiffUnreadable("raw line regexp mismatch")
    old_path = c_unquoted(old_name)
    new_path = old_path if new_name is old_name else c_unquoted(new_name)
    entry = RawEntry(
        int(old_mode, 8),
        int(new_mode, 8),
        old_id.decode(),
        new_id.decode(),
        status.decode(),
        old_path,
        new_path,
    )
    return entry, old_name, new_name


def parse_records(tokens: Iterator[bytes]) -> Iterator[RawEntry]:
    """Entries of the format with -z, cut at its NULs. Raises DiffUnreadable."""
    for head in tokens:
        fields = _head(head)
        try:
            old_path = next(tokens)
            new_path = next(tokens) if fields[4][:1] in b"CR" else old_path
        except StopIteration:
            raise DiffUnreadable("read raw diff: EOF") from None
        yield _entry(fields, old_path, new_path)


def _head(head: bytes) -> list[bytes]:
    fields = head[1:].split(b" ")
    if head[:1] != b":" or len(fields) != 5 or not fields[4]:
        raise DiffUnreadable("raw line regexp mismatch")
    return fields


def _entry(fields: list[bytes], old_path: bytes, new_path: bytes) -> RawEntry:
    old_mode, new_mode, old_id, new_id, status = fields
    try:
        return RawEntry(
            int(old_mode, 8),
            int(new_mode, 8),
            old_id.decode("ascii"),
            new_id.decode("ascii"),
            status[:1].decode("ascii"),
            old_path,
            new_path,
        )
    except ValueError:
        raise DiffUnreadable("raw line regexp mismatch") from None
