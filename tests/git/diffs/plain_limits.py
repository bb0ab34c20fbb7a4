"""The rules of limits as one loop over lines, to compare with. Nothing here is fast."""

from dataclasses import dataclass

from gitaly.git.diffs import Limits, RawEntry
from gitaly.git.diffs.raw import parse_line


@dataclass
class Shown:
    """What a reader gets to see of a file."""

    path: bytes | None
    patch: bytes = b""
    added: int = 0
    removed: int = 0
    collapsed: bool = False
    too_large: bool = False
    overflow: bool = False


class PlainReader:
    """Reads output in which each file has a patch."""

    def __init__(self, output: bytes, limits: Limits) -> None:
        raw, _, patches = output.partition(b"\n\n")
        self.entries: list[RawEntry] = []
        for line in raw.split(b"\n"):
            self.entries += parse_line(line)[0].without_type_change()
        self.sections = (b"\n" + patches).split(b"\ndiff --git ")[1:]
        self.limits = limits
        self.files = self.lines = self.octets = 0
        self.is_over = False

    def files_shown(self) -> list[Shown]:
        found: list[Shown] = []
        for entry, section in zip(self.entries, self.sections, strict=True):
            shown = self._file(entry, section.removesuffix(b"\n").split(b"\n")[1:])
            if shown.overflow and not self.limits.collect_all_paths:
                return [*found, Shown(None, overflow=True)]
            found.append(shown)
        return found

    def _file(self, entry: RawEntry, lines: list[bytes]) -> Shown:
        shown, limits = Shown(entry.new_path), self.limits
        self.files += 1
        count = self._read(shown, lines)
        if limits.collapse and count and self._is_over_safe_limits():
            self._take_back(shown, count)
            shown.collapsed = True
        if limits.enforce and len(shown.patch) >= limits.patch_bytes(entry.new_path):
            self._take_back(shown, count)
            shown.too_large = True
        if limits.enforce and (
            self.files > limits.max_files
            or self.lines >= limits.max_lines
            or self.octets >= limits.max_bytes
        ):
            shown.patch, shown.overflow, self.is_over = b"", True, True
        return shown

    def _read(self, shown: Shown, lines: list[bytes]) -> int:
        count = 0
        for line in lines:
            if not shown.patch and line[:3] in (b"---", b"+++"):
                continue
            is_hunk = line[:2] == b"@@"
            if not is_hunk and line[:1] not in (b"-", b"+", b" ", b"\\"):
                continue
            if not self.is_over:
                shown.patch += line + b"\n"
            if not is_hunk:
                count += 1
                self.octets += len(line) + 1
                shown.added += line[:1] == b"+"
                shown.removed += line[:1] == b"-"
        self.lines += count
        return count

    def _take_back(self, shown: Shown, count: int) -> None:
        self.lines -= count
        self.octets -= len(shown.patch)
        shown.patch = b""

    def _is_over_safe_limits(self) -> bool:
        limits = self.limits
        return (
            self.files > limits.safe_max_files
            or self.lines > limits.safe_max_lines
            or self.octets > limits.safe_max_bytes
        )
