"""How much of a diff its reader wants: where patches collapse, and where the diff ends.

Source: Gitaly, internal/gitaly/diff/diff.go (the order of the checks, and what they count).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

MAX_FILES: Final = 5000
MAX_LINES: Final = 250_000
MAX_BYTES: Final = 25_600_000
SAFE_MAX_FILES: Final = 500
SAFE_MAX_LINES: Final = 25_000
SAFE_MAX_BYTES: Final = 2_560_000
MAX_PATCH_BYTES: Final = 512_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the caller asked for. Without `enforce`, `max_*` mean nothing; so do `safe_*` without
    `collapse`."""

    enforce: bool = False
    collapse: bool = False
    collect_all_paths: bool = False  # beyond the limits, go on without patches
    patches_only: bool = False  # limits of the whole diff do not count
    max_files: int = 0
    max_lines: int = 0
    max_bytes: int = 0
    max_patch_bytes: int = 0
    max_patch_bytes_of: Mapping[str, int] = field(default_factory=dict)  # by ".ext" or base name
    safe_max_files: int = 0
    safe_max_lines: int = 0
    safe_max_bytes: int = 0

    def clamped(self) -> "Limits":
        """Nobody gets more than this."""
        return replace(
            self,
            max_files=min(self.max_files, MAX_FILES),
            max_lines=min(self.max_lines, MAX_LINES),
            max_bytes=min(self.max_bytes, MAX_BYTES),
            max_patch_bytes=min(self.max_patch_bytes, MAX_PATCH_BYTES),
            safe_max_files=min(self.safe_max_files, SAFE_MAX_FILES),
            safe_max_lines=min(self.safe_max_lines, SAFE_MAX_LINES),
            safe_max_bytes=min(self.safe_max_bytes, SAFE_MAX_BYTES),
        )

    def patch_bytes(self, path: bytes) -> int:
        """The size from which the patch of this file is too large."""
        if not self.max_patch_bytes_of:
            return self.max_patch_bytes
        name = path.rstrip(b"/").rpartition(b"/")[2].decode(errors="surrogateescape")
        _, dot, extension = name.rpartition(".")
        return self.max_patch_bytes_of.get(dot + extension if dot else name, self.max_patch_bytes)


class PatchSize(NamedTuple):
    """What counts of one patch. Hunk headers belong to its length, not to its lines."""

    length: int  # bytes of the text
    lines: int
    bytes: int  # of the lines


class Verdict(NamedTuple):
    """What becomes of one patch."""

    collapsed: bool = False
    too_large: bool = False
    overflow: bool = False  # the limits of the whole diff are reached

    @property
    def is_pruned(self) -> bool:
        """The text is not shown."""
        return self.collapsed or self.too_large or self.overflow


SHOWN: Final = Verdict()


class Tally:
    """What has been shown until now, and what that means for the next file."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.counts_bytes = limits.enforce or limits.collapse  # `PatchSize.lines` and `.bytes`
        self._files = 0
        self._lines = 0
        self._bytes = 0
        self.is_over = False  # no patch is shown any more

    def add_file(self) -> None:
        """Each file counts, also one without a patch."""
        self._files += 1

    def prunes(self, path: bytes, size: PatchSize) -> bool:
        """Whether a patch that is as large already, and may still grow, will not be shown."""
        limits = self._limits
        if self.is_over or (limits.enforce and size.length >= limits.patch_bytes(path)):
            return True
        lines, octets = self._lines + size.lines, self._bytes + size.bytes
        if limits.collapse and size.lines and self._is_over_safe_limits(lines, octets):
            return True
        return self._is_over_limits(lines, octets)

    def judge(self, path: bytes, size: PatchSize) -> Verdict:
        """Count a patch that is complete. After the overflow its length is 0: nobody kept it."""
        limits = self._limits
        if not self.counts_bytes:
            return SHOWN
        self._lines += size.lines
        self._bytes += size.bytes
        length = size.length
        collapsed = bool(
            limits.collapse and size.lines and self._is_over_safe_limits(self._lines, self._bytes)
        )
        if collapsed:
            length = self._take_back(size.lines, length)
        too_large = limits.enforce and length >= limits.patch_bytes(path)
        if too_large:
            self._take_back(size.lines, length)
        overflow = self._is_over_limits(self._lines, self._bytes)
        self.is_over = self.is_over or overflow
        return Verdict(collapsed=collapsed, too_large=too_large, overflow=overflow)

    def _take_back(self, lines: int, length: int) -> int:
        self._lines -= lines
        self._bytes -= length
        return 0

    def _is_over_safe_limits(self, lines: int, octets: int) -> bool:
        limits = self._limits
        return (
            self._files > limits.safe_max_files
            or lines > limits.safe_max_lines
            or octets > limits.safe_max_bytes
        )

    def _is_over_limits(self, lines: int, octets: int) -> bool:
        limits = self._limits
        if not limits.enforce or limits.patches_only:
            return False
        return (
            self._files > limits.max_files
            or lines >= limits.max_lines
            or octets >= limits.max_bytes
        )
