"""The output of `git range-diff`: pairs of commits, and how they differ. Source: git-range-diff(1).

1:  f00dbal ! 2:  decafe1 Describe a bug
    @@ file: def main():
"""

import re
from dataclasses import dataclass
from typing import Final

from gitaly.git.diffs.raw import DiffUnreadable

_PAIR: Final = re.compile(
    rb" *(?:-|[0-9]+): +(-+|[a-f0-9]+) ([>=!<]) +(?:-|[0-9]+): +(-+|[a-f0-9]+) (.*)", re.DOTALL
)
_INDENT: Final = 4
LINE_LIMIT_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class CommitPair:
    """Two commits; the id of one that is missing is a run of dashes."""

    old_id: str
    new_id: str
    comparison: str  # "=", "!", "<" (only old), ">" (only new)
    title: bytes


RangeDiffEvent = CommitPair | bytes  # lines of the difference of the pair before


class RangeDiffParser:
    """Bytes in, pairs and their text out; cut the bytes anywhere."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._has_pair = False

    def receive(self, data: bytes) -> list[RangeDiffEvent]:
        """Take the next piece. Raises DiffUnreadable."""
        self._rest += data
        end = self._rest.rfind(b"\n")
        if end < 0:
            if len(self._rest) > LINE_LIMIT_BYTES:
                raise DiffUnreadable(f"line of more than {LINE_LIMIT_BYTES} bytes")
            return []
        lines = bytes(memoryview(self._rest)[:end]).split(b"\n")
        del self._rest[: end + 1]
        return self._events(lines)

    def finish(self) -> list[RangeDiffEvent]:
        """Nothing follows. Raises DiffUnreadable."""
        rest, self._rest = bytes(self._rest), bytearray()
        return self._events([rest]) if rest else []

    def _events(self, lines: list[bytes]) -> list[RangeDiffEvent]:
        events: list[RangeDiffEvent] = []
        text: list[bytes] = []
        for line in lines:
            pair = _PAIR.fullmatch(line)
            if pair is None:
                text.append(self._text(line))
                continue
            if text:
                events.append(b"".join(text))
                text = []
            old_id, comparison, new_id, title = pair.groups()
            events.append(CommitPair(old_id.decode(), new_id.decode(), comparison.decode(), title))
            self._has_pair = True
        if text:
            events.append(b"".join(text))
        return events

    def _text(self, line: bytes) -> bytes:
        if not self._has_pair:
            shown = line[:1000].decode(errors="replace")
            raise DiffUnreadable(f"range-diff commit pair not found, current line: {shown}")
        if len(line) < _INDENT:
            raise DiffUnreadable(f"range-diff patch data too short, line size: {len(line)}")
        return line[_INDENT:] + b"\n"
