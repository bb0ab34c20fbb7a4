"""Patches of given pairs of blobs, as `git diff-pairs` (2.50) makes them, with any git.

The pairs become the entries of two flat trees, numbered, in an object directory of their own; what
`git diff-tree` says of these is given back in the pairs' names. Attributes don't count.
"""

import re
import stat
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gitaly.git.c_quoting import c_quoted, c_string
from gitaly.git.diffs.patches import FileDiff
from gitaly.git.diffs.raw import RawEntry
from gitaly.git.loose_objects import TreeItem

_ID: Final = re.compile(r"(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})")
_STATES: Final = frozenset("ACDMRT")


class PairsRefused(Exception):
    """Git would not read this."""


def check_pairs(pairs: Sequence[RawEntry], id_length: int) -> None:
    """Raises PairsRefused for what `git diff-pairs` cannot read."""
    for pair in pairs:
        ids = (pair.old_id, pair.new_id)
        modes = (pair.old_mode, pair.new_mode)
        if (
            pair.status not in _STATES
            or any(len(x) != id_length or not _ID.fullmatch(x) for x in ids)
            or any(mode < 0 or stat.S_ISDIR(mode) for mode in modes)
            or b"\0" in pair.old_path + pair.new_path
            or (pair.old_path != pair.new_path and pair.status not in "CR")
        ):
            raise PairsRefused


class Trees(NamedTuple):
    """Both sides."""

    old: list[TreeItem]
    new: list[TreeItem]


def trees_of(pairs: Sequence[RawEntry]) -> Trees:
    """What to compare, so that the difference has the pairs in order, where they differ."""
    trees = Trees([], [])
    for index, pair in enumerate(pairs):
        name = b"%08d" % index
        if pair.status != "A" and pair.old_mode:
            trees.old.append(TreeItem(pair.old_mode, name, pair.old_id))
        if pair.status != "D" and pair.new_mode:
            trees.new.append(TreeItem(pair.new_mode, name, pair.new_id))
    return trees


class PairNames:
    """Gives each pair its answer, in order: one, or two if its type has changed."""

    def __init__(self, pairs: Sequence[RawEntry], limit: int) -> None:
        """`limit`: a patch of more bytes is too large; 0: none is."""
        self._limit = limit
        self._left = iter(
            [(index, part) for index, pair in enumerate(pairs) for part in _parts(pair)]
        )

    def until(self, file: FileDiff) -> Iterator[FileDiff]:
        """Answers up to the one to which this patch belongs."""
        assert file.entry is not None
        wanted = int(file.entry.new_path)
        for index, part in self._left:
            if index == wanted:
                yield self._named(file, part)
                return
            if index > wanted:  # a second patch of a pair that did not say it changes its type
                self._left = _put_back((index, part), self._left)
                return
            yield FileDiff(part)

    def rest(self) -> Iterator[FileDiff]:
        """Of those that do not differ."""
        for _, part in self._left:
            yield FileDiff(part)

    def _named(self, file: FileDiff, pair: RawEntry) -> FileDiff:
        if not file.binary:
            return file._replace(entry=pair)
        old = b"/dev/null" if pair.status == "A" else _prefixed(b"a/", pair.old_path)
        new = b"/dev/null" if pair.status == "D" else _prefixed(b"b/", pair.new_path)
        patch = b"Binary files %b and %b differ\n" % (old, new)
        is_large = self._limit != 0 and len(patch) > self._limit
        return file._replace(
            entry=pair,
            patch=b"" if is_large else patch,
            patch_bytes=len(patch),
            is_pruned=is_large,
            too_large=is_large,
        )


def _put_back(
    first: tuple[int, RawEntry], rest: Iterator[tuple[int, RawEntry]]
) -> Iterator[tuple[int, RawEntry]]:
    yield first
    yield from rest


def _parts(pair: RawEntry) -> tuple[RawEntry, ...]:
    return pair.without_type_change()


def _prefixed(prefix: bytes, path: bytes) -> bytes:
    whole = prefix + path
    return c_string(whole) if c_quoted(path) != path else whole
