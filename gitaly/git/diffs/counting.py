"""Counts the lines of a patch, with few steps for each hunk and none for each line."""

from operator import itemgetter
from typing import Final, NamedTuple

from gitaly.git.diffs.limits import PatchSize
from gitaly.git.diffs.raw import RawEntry

_FIRST_BYTE: Final = itemgetter(slice(0, 1))


class PatchCounts(NamedTuple):
    """Of a whole patch."""

    added: int  # lines
    removed: int
    size: PatchSize


def counts_of(text: bytes, *, exactly: bool) -> PatchCounts:
    """Of a patch that is kept, and at hand as a whole: it begins with "@@" or "Binary", or is
    empty. `exactly` False: nobody will ask for the size, but for its length.

    Half as expensive as to look for line feeds that are followed by a plus, and then for others.
    """
    lines = text.split(b"\n")
    firsts = b"".join(map(_FIRST_BYTE, lines))
    size = PatchSize(len(text), 0, 0)
    if exactly:
        headers = [line for line in lines if line[:2] == b"@@"]
        octets = len(text) - len(b"".join(headers)) - len(headers)
        size = PatchSize(len(text), len(lines) - 1 - len(headers), octets)
    return PatchCounts(firsts.count(b"+"), firsts.count(b"-"), size)


class PatchCounter:
    """Of one file's patch, which comes in one piece or in several."""

    def __init__(self, entry: RawEntry, *, is_kept: bool) -> None:
        """`is_kept` False: the text is not kept, and what looks like a line with a file's name
        ("---", "+++") counts as one. Source: Gitaly, internal/gitaly/diff/diff.go."""
        self.entry = entry
        self.is_pruned = not is_kept
        self.binary = False
        self.added = 0
        self.removed = 0
        self._is_kept = is_kept
        self.is_at_line_start = True
        self._length = 0
        self._lines = 0
        self._bytes = 0

    @property
    def size(self) -> PatchSize:
        """Until now."""
        return PatchSize(self._length, self._lines, self._bytes)

    def count(self, text: bytes, *, exactly: bool = True) -> None:
        """Add a piece. `exactly` False: nobody will ask for `size`, but for its length.

        A piece ends with a line, or is a part of a line of more than 1000 bytes.
        """
        self.added += self._starts(text, b"+")
        self.removed += self._starts(text, b"-")
        if self.is_at_line_start and text.startswith(b"Binary"):
            self.binary = True
        self._lines += text.count(b"\n")
        self._bytes += len(text)
        if exactly and self._starts(text, b"@@"):
            self._leave_out_hunk_headers(text)
        if self._is_kept:
            self._length += len(text)
        else:
            self._leave_out_names(text)
        if text:
            self.is_at_line_start = text.endswith(b"\n")

    def _starts(self, text: bytes, prefix: bytes) -> int:
        """How many lines begin with it."""
        first = self.is_at_line_start and text.startswith(prefix)
        return text.count(b"\n" + prefix) + first

    def _leave_out_hunk_headers(self, text: bytes) -> None:
        start = 0 if self.is_at_line_start and text.startswith(b"@@") else text.find(b"\n@@") + 1
        while True:
            end = text.find(b"\n", start) + 1 or len(text)
            self._lines -= 1
            self._bytes -= end - start
            start = text.find(b"\n@@", end - 1) + 1
            if not start:
                return

    def _leave_out_names(self, text: bytes) -> None:
        self.added -= self._starts(text, b"+++")
        self.removed -= self._starts(text, b"---")
        lines = text.split(b"\n")
        for line in lines if self.is_at_line_start else lines[1:]:
            if line[:3] in (b"---", b"+++"):
                self._lines -= 1
                self._bytes -= len(line) + 1
