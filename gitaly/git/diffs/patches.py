"""Reads what `git diff --raw --patch` writes: first a raw line for each file, then the patches.

Files keep the order of the raw lines; not each has a patch. What stands before the first "@@" of a
patch is dropped. A patch is cut at "diff --git", which no line of content can begin with: they all
begin with one of "+- \\@~".
"""

import re
from collections import deque
from typing import Final, NamedTuple

from gitaly.git.diffs.counting import PatchCounter, counts_of
from gitaly.git.diffs.limits import Limits, PatchSize, Tally, Verdict
from gitaly.git.diffs.raw import DiffUnreadable, RawEntry, parse_line

LARGE_PATCH_BYTES: Final = 1 << 20  # from here on, a patch is handed on in pieces
LINE_LIMIT_BYTES: Final = 16 << 20  # of a raw line, or of the lines before a patch
_HEADER: Final = b"diff --git "
_NEXT: Final = b"\n" + _HEADER
_RAW_LINES: Final = re.compile(rb"(?::[^\n]*\n)*")


class FileDiff(NamedTuple):
    """One changed file, complete."""

    entry: RawEntry | None  # None: the overflow marker, which says nothing else
    has_patch: bool = False  # git has printed one, and be it without content
    patch: bytes = b""
    patch_bytes: int = 0  # of the text, also where it has been pruned
    in_pieces: bool = False  # `PatchText` came before, and is the patch, unless it is pruned
    is_pruned: bool = False
    binary: bool = False
    collapsed: bool = False
    too_large: bool = False
    overflow: bool = False
    lines_added: int = 0
    lines_removed: int = 0


OVERFLOW: Final = FileDiff(None, is_pruned=True, overflow=True)  # the last: no more are read


class PatchText(NamedTuple):
    """A piece of the patch of the file that comes next."""

    data: bytes


Event = FileDiff | PatchText


class DiffParser:
    """Bytes in, files out; cut the bytes anywhere.

    Keeps at most a mebibyte of a patch, and the raw lines: some 200 bytes for each file that is
    still to come. With limits it may be done before git is.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        only_patched: bool = False,
        one_pair: bool = False,
        large_patch_bytes: int = LARGE_PATCH_BYTES,
    ) -> None:
        """`only_patched`: a file for which git prints no patch is not there. Where white space is
        ignored, git before 2.52 has a raw line for each file, and later ones have not.

        `one_pair`: two blobs are compared, each of which has a name of its own.
        """
        self._tally = Tally(limits)
        self._goes_on = limits.collect_all_paths
        self._only_patched = only_patched
        self._one_pair = one_pair
        self._large_patch_bytes = large_patch_bytes
        self._raw: deque[bytes] = deque()  # lines
        self._next: deque[tuple[RawEntry, bytes]] = deque()  # of one line, and the header's line
        self._buffer = bytearray()
        self._searched = 0  # no patch begins in so many bytes of the buffer
        self._in_raw = True
        self._large: PatchCounter | None = None
        self.is_done = False
        self.is_cut_short = False  # by a limit

    def receive(self, data: bytes) -> list[Event]:
        """Take the next piece. Raises DiffUnreadable."""
        self._buffer += data
        if self._in_raw:
            self._read_raw()
        events: list[Event] = []
        if not self._in_raw:
            self._read_patches(events)
        return events

    def finish(self) -> list[Event]:
        """Nothing follows. Raises DiffUnreadable."""
        events: list[Event] = []
        if self._in_raw:
            self._buffer.clear()  # a line without an end is none
        if not self.is_done and (self._buffer or self._large is not None):
            self._end_of_patch(bytes(self._buffer), events)
        while not self.is_done and self._has_next():
            self._without_patch(events)
        self.is_done = True
        return events

    def _read_raw(self) -> None:
        found = _RAW_LINES.match(self._buffer)
        assert found is not None  # it matches nothing at all, too
        if found[0]:
            self._raw.extend(found[0][:-1].split(b"\n"))
        del self._buffer[: found.end()]
        if self._buffer[:1] not in b":":
            end = self._buffer.find(b"\n") + 1
            self._in_raw = not end
            del self._buffer[:end]
        if self._in_raw:
            _check_length(self._buffer)

    def _read_patches(self, events: list[Event]) -> None:
        buffer = self._buffer
        if self._large is not None and self._large.is_at_line_start and buffer.startswith(_HEADER):
            self._end_of_patch(b"", events)
        end = buffer.find(_NEXT, self._searched) + 1
        if end:
            del buffer[: self._read_whole(bytes(buffer), end, events)]
        self._searched = max(0, len(buffer) - len(_NEXT) + 1)
        if self.is_done:
            buffer.clear()
        elif self._large is not None or len(buffer) > self._large_patch_bytes:
            self._part_of_patch(events)

    def _read_whole(self, text: bytes, end: int, events: list[Event]) -> int:
        """Patches that are complete, the first up to `end`; where the one begins that is not."""
        start = 0
        while end and not self.is_done:
            self._end_of_patch(text[start:end], events)
            start, end = end, text.find(_NEXT, end) + 1
        return start

    def _part_of_patch(self, events: list[Event]) -> None:
        """Take the lines that are complete; the rest may be the beginning of "diff --git"."""
        end = self._buffer.rfind(b"\n") + 1
        text = bytes(memoryview(self._buffer)[:end])
        if self._large is None:
            body = _text_of(text)
            if not body:
                _check_length(self._buffer)
                return  # a very long name, or a very long first line
            entry = self._entry_of(text, events)
            self._large = PatchCounter(entry, is_kept=not self._tally.is_over)
            text = body
        elif not end and len(self._buffer) > self._large_patch_bytes:
            text, end = bytes(self._buffer), len(self._buffer)  # of a line without an end in sight
        del self._buffer[:end]
        self._searched = max(0, len(self._buffer) - len(_NEXT) + 1)
        self._take_text(self._large, text, events)

    def _take_text(self, large: PatchCounter, text: bytes, events: list[Event]) -> None:
        large.count(text)
        if not large.is_pruned and self._tally.prunes(large.entry.new_path, large.size):
            large.is_pruned = True
        if not large.is_pruned and text:
            events.append(PatchText(text))

    def _end_of_patch(self, section: bytes, events: list[Event]) -> None:
        large, self._large = self._large, None
        if large is not None:
            self._take_text(large, section, events)
            verdict = self._judge(large.entry, large.size)
            events.append(self._file(large.entry, large, b"", verdict, in_pieces=True))
            return
        entry = self._entry_of(section, events)
        text = _text_of(section)
        if self._tally.is_over:
            unkept = PatchCounter(entry, is_kept=False)
            unkept.count(text)
            verdict = self._judge(entry, unkept.size)
            events.append(self._file(entry, unkept, b"", verdict, in_pieces=False))
        else:
            events.append(self._whole(entry, text))

    def _whole(self, entry: RawEntry, text: bytes) -> FileDiff:
        """A patch that is short enough, as nearly all are; hence without a step too many."""
        added, removed, size = counts_of(text, exactly=self._tally.counts_bytes)
        verdict = self._judge(entry, size)
        if self.is_done:
            return OVERFLOW
        is_pruned, binary = verdict.is_pruned, text.startswith(b"Binary")
        return FileDiff(  # by position: names would cost as much as the rest of it
            *(entry, True, b"" if is_pruned else text, size.length, False, is_pruned, binary),
            *(verdict.collapsed, verdict.too_large, verdict.overflow, added, removed),
        )

    def _judge(self, entry: RawEntry, size: PatchSize) -> Verdict:
        self._tally.add_file()
        verdict = self._tally.judge(entry.new_path, size)
        if verdict.overflow and not self._goes_on:
            self.is_done = self.is_cut_short = True
        return verdict

    def _file(
        self,
        entry: RawEntry,
        counted: PatchCounter,
        patch: bytes,
        verdict: Verdict,
        *,
        in_pieces: bool,
    ) -> FileDiff:
        if self.is_done:
            return OVERFLOW
        return FileDiff(
            entry,
            has_patch=True,
            patch=patch,
            patch_bytes=counted.size.length,
            in_pieces=in_pieces,
            is_pruned=verdict.is_pruned,
            binary=counted.binary,
            collapsed=verdict.collapsed,
            too_large=verdict.too_large,
            overflow=verdict.overflow,
            lines_added=counted.added,
            lines_removed=counted.removed,
        )

    def _entry_of(self, section: bytes, events: list[Event]) -> RawEntry:
        """Whose patch this is; those before it have none."""
        while self._has_next():
            entry, line = self._next[0]
            if self._one_pair or section.startswith(line):
                self._next.popleft()
                return entry
            self._without_patch(events)
        raise DiffUnreadable("diff header regexp mismatch")

    def _has_next(self) -> bool:
        if not self._next and self._raw:
            entry, old_name, new_name = parse_line(self._raw.popleft())
            if old_name[:1] == b'"' or new_name[:1] == b'"':
                names = _prefixed(b"a/", old_name) + b" " + _prefixed(b"b/", new_name)
            else:
                names = b"a/%b b/%b" % (old_name, new_name)
            header = b"diff --git %b\n" % names
            self._next.extend([(one, header) for one in entry.without_type_change()])
        return bool(self._next)

    def _without_patch(self, events: list[Event]) -> None:
        entry, _ = self._next.popleft()
        if self._only_patched:
            return
        self._tally.add_file()
        events.append(FileDiff(entry))


def _text_of(section: bytes) -> bytes:
    """The patch without what stands before its text; empty if there is none."""
    start = section.find(b"\n@@") + 1 or section.find(b"\nBinary files ") + 1
    return section[start:] if start else b""


def _prefixed(prefix: bytes, name: bytes) -> bytes:
    """As it stands in the header, where the quotes go around the prefix as well."""
    return b'"' + prefix + name[1:] if name[:1] == b'"' else prefix + name


def _check_length(data: bytes | bytearray) -> None:
    if len(data) > LINE_LIMIT_BYTES:
        raise DiffUnreadable(f"line of more than {LINE_LIMIT_BYTES} bytes")
