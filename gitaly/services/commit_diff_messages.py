"""CommitDiffResponse as it goes over the wire. A diff has thousands of them, and making the objects
would cost as much as all that is read for them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gitaly.git.diffs import FileDiff
from gitaly.services.encoding import length, number, number_tag, tag, varint
from gitaly.services.patch_pieces import PIECE_BYTES

# The numbers of the fields, as proto/diff.proto has them.
_FROM_PATH: Final = tag(1)
_TO_PATH: Final = tag(2)
_FROM_ID: Final = tag(3)
_TO_ID: Final = tag(4)
_OLD_MODE: Final = 5
_NEW_MODE: Final = 6
_BINARY: Final = number(7, True)
_RAW_PATCH_DATA: Final = tag(9)
_FULL_PIECE: Final = _RAW_PATCH_DATA + varint(PIECE_BYTES)
_END_OF_PATCH: Final = number(10, True)
_OVERFLOW_MARKER: Final = 11
_COLLAPSED: Final = 12
_TOO_LARGE: Final = 13
_LINES_ADDED: Final = number_tag(14)
_LINES_REMOVED: Final = number_tag(15)

_USUAL_MODES: Final[Mapping[tuple[int, int], bytes]] = MappingProxyType(
    {
        (old, new): number(_OLD_MODE, old) + number(_NEW_MODE, new)
        for old in (0, 0o100644, 0o100755)
        for new in (0, 0o100644, 0o100755)
    }
)


def messages_of(file: FileDiff) -> list[bytes]:
    """All about a file whose patch is at hand."""
    patch, size = file.patch, len(file.patch)
    if size <= PIECE_BYTES:
        return [first_message(file, patch, is_last=True)]
    messages = [first_message(file, patch[:PIECE_BYTES], is_last=False)]
    last = (size - 1) // PIECE_BYTES * PIECE_BYTES
    messages += [
        _FULL_PIECE + patch[start : start + PIECE_BYTES]
        for start in range(PIECE_BYTES, last, PIECE_BYTES)
    ]
    messages.append(further_message(patch[last:], is_last=True))
    return messages


def first_message(file: FileDiff, piece: bytes, *, is_last: bool) -> bytes:
    """Everything about the file, and the first piece of its patch."""
    if file.entry is None:
        return further_message(piece, is_last=is_last) + _marks(file)
    old_mode, new_mode, old_id, new_id, _, old_path, new_path = file.entry
    added, removed = file.lines_added, file.lines_removed
    return b"".join(
        (
            *(_FROM_PATH, length(len(old_path)), old_path),
            *(_TO_PATH, length(len(new_path)), new_path),
            *(_FROM_ID, length(len(old_id)), old_id.encode()),
            *(_TO_ID, length(len(new_id)), new_id.encode()),
            _USUAL_MODES.get((old_mode, new_mode)) or _modes(old_mode, new_mode),
            _BINARY if file.binary else b"",
            further_message(piece, is_last=is_last),
            _marks(file) if file.is_pruned else b"",
            *((_LINES_ADDED, length(added)) if added else ()),
            *((_LINES_REMOVED, length(removed)) if removed else ()),
        )
    )


def further_message(piece: bytes, *, is_last: bool) -> bytes:
    """Another piece of the patch of the file before."""
    patch = _RAW_PATCH_DATA + length(len(piece)) + piece if piece else b""
    return patch + _END_OF_PATCH if is_last else patch


def _modes(old: int, new: int) -> bytes:
    return number(_OLD_MODE, old) + number(_NEW_MODE, new)


def _marks(file: FileDiff) -> bytes:
    """Why the patch is not shown."""
    return (
        number(_OVERFLOW_MARKER, file.overflow)
        + number(_COLLAPSED, file.collapsed)
        + number(_TOO_LARGE, file.too_large)
    )
