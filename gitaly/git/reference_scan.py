"""References read from their files: 4 ms for 4,000, or 0.1 if packed-refs is known; git takes 5.

Source: gitrepository-layout(5); git, refs/packed-backend.c. What is in any way special (symbolic or
damaged references, many files) git is asked for.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cachetools import LRUCache

from gitaly.git.handles import Undecided
from gitaly.git.reference_names import is_valid_reference_name
from gitaly.git.references import ListedReference, ReferenceQuery, SortKey

PACKED_BYTES: Final = 512 * 1024  # what is larger would hold everybody else up
TOGETHER: Final = 1000  # references in a batch
KNOWN_BYTES: Final = 16 << 20  # of memory, for all repositories together
LOOSE: Final = 256  # files that are read one by one, 10 µs each
_ALL: Final = b"refs/"
_HIERARCHIES: Final = (b"refs/heads/", b"refs/remotes/", b"refs/tags/")  # in their order
_VALUE: Final = re.compile(rb"([0-9a-f]{40})\s*")
_DIGITS: Final = 40
_NAME: Final = _DIGITS + 1  # where the name begins in a line
_SIZE: Final = 200  # bytes of a reference in memory, beside its line
_NOTHING: Final = b"0" * 40  # the id of a reference that is broken


class PackedReferences:
    """What was read of packed-refs files lately. Each is replaced by another file, as a whole."""

    def __init__(self, limit_bytes: int = KNOWN_BYTES) -> None:
        self._known: LRUCache[tuple[str, bytes], _Packed] = LRUCache(
            limit_bytes, lambda packed: packed.size_bytes
        )

    def below(self, path: str, prefix: bytes) -> Sequence[ListedReference]:
        """Those of a repository whose names begin so, sorted by name. Raises Undecided."""
        try:
            with open(f"{path}/packed-refs", "rb") as file:
                identity = _identity(os.fstat(file.fileno()))
                known = self._known.get((path, prefix))
                if known is not None and known.identity == identity:
                    return known.references
                text = file.read(PACKED_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Undecided from error
        lines = _lines(_checked(text), prefix)
        size = sum(map(len, lines)) + _SIZE * (len(lines) + 1)
        packed = _Packed(identity, [_listed(line) for line in lines], size)
        if size <= self._known.maxsize:
            self._known[path, prefix] = packed
        return packed.references


class _Packed(NamedTuple):
    identity: tuple[int, ...]  # of the file
    references: Sequence[ListedReference]
    size_bytes: int


def scanned(
    path: str, query: ReferenceQuery, packed: PackedReferences
) -> Iterator[list[ListedReference]]:
    """The references of a repository of SHA-1 in files, in the order of their names, in batches.

    Files are read at once, which takes some milliseconds at most; the rest costs as much as is
    taken. Raises Undecided, at once, for a query that git should answer.
    """
    wanted = {pattern.removesuffix(b"/") + b"/" for pattern in query.patterns}
    if not wanted <= {_ALL, *_HIERARCHIES} or not _is_plain(query) or _is_worktree(path):
        raise Undecided
    found: list[ListedReference] = []
    for below in (_ALL,) if _ALL in wanted else _HIERARCHIES:
        if below in wanted:
            # Loose ones first, as git does: packing moves references only to the place seen later.
            loose = dict(_loose(path.encode(errors="surrogateescape"), below))
            references = packed.below(path, below)
            if loose:
                references = [one for one in references if one.name not in loose]
                references += [ListedReference(name, loose[name].decode()) for name in loose]
                references.sort(key=lambda one: one.name)
            found += references
    return (found[start : start + TOGETHER] for start in range(0, len(found), TOGETHER))


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _listed(line: bytes) -> ListedReference:
    return ListedReference(line[_NAME:], line[:_DIGITS].decode())


def _lines(text: bytes, below: bytes) -> list[bytes]:
    """The lines `<id> <name>` of a sorted packed-refs whose names begin so."""
    mark = b" " + below
    first, last = text.find(mark), text.rfind(mark)
    if first < 0:
        return []
    lines = text[first - _DIGITS : text.find(b"\n", last)].split(b"\n")
    lines = [line for line in lines if not line.startswith(b"^")]  # what a tag is a tag of
    if any(line.find(mark) != _DIGITS for line in lines):
        raise Undecided
    return lines


def _is_plain(query: ReferenceQuery) -> bool:
    has_options = query.exclude or query.points_at or query.descending or query.ignore_case
    has_more = query.peel_tags or query.merged is not None
    return not (has_options or has_more) and query.sort_key is SortKey.REFNAME


def _is_worktree(path: str) -> bool:
    return os.path.exists(f"{path}/commondir")


def _loose(root: bytes, below: bytes) -> Iterator[tuple[bytes, bytes]]:
    left = LOOSE
    directories = [below]
    while directories:
        directory = directories.pop()
        try:
            entries = list(os.scandir(root + b"/" + directory))
        except FileNotFoundError:  # packed meanwhile, or never there
            continue
        except OSError as error:
            raise Undecided from error
        for entry in entries:
            name = directory + entry.name
            if entry.is_dir(follow_symlinks=False):
                directories.append(name + b"/")
                continue
            if name.endswith(b".lock"):
                continue
            left -= 1
            if left < 0 or entry.is_symlink() or not is_valid_reference_name(name):
                raise Undecided
            target = _value(entry.path)
            if target is not None:
                yield name, target


def _value(path: bytes) -> bytes | None:
    """What a file says; None: it has gone meanwhile."""
    try:
        with open(path, "rb") as file:
            found = _VALUE.fullmatch(file.read(1024))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Undecided from error
    if found is None or found[1] == _NOTHING:
        raise Undecided
    return found[1]


def _checked(text: bytes) -> bytes:
    """Raises Undecided for a packed-refs that is large, or not as git writes it."""
    is_sorted = b" sorted" in text.partition(b"\n")[0]
    if len(text) > PACKED_BYTES or not is_sorted or _NOTHING in text:
        raise Undecided
    return text
