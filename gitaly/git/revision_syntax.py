"""The part of git's revision syntax that can be followed without git.

Source: gitrevisions(7); git, object-name.c (what is tried first).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

ID_DIGITS: Final[Mapping[str, int]] = MappingProxyType({"sha1": 40, "sha256": 64})
LONGEST_BYTES: Final = 4096  # of what is worth to be looked at here
ABBREVIATION_DIGITS: Final = 4  # git takes no shorter ones
_HEX: Final = re.compile(rb"[0-9A-Fa-f]+")
# Plain letters only: braces and backslashes may occur in names, but git knows best what they mean.
_BASE: Final = re.compile(rb"[^\x00-\x20\x7f~^:?*\[\\{}@]+|@|HEAD")
_STEP: Final = re.compile(rb"(?:\^\{(commit|tree|blob|tag|object|)\}|([~^])(\d{0,2}))\Z")
# "v1.0-3-g1a2b3c4", which may also be the end of a path: git looks for an object first.
_DESCRIBED: Final = re.compile(rb"-g[0-9A-Fa-f]{4,}\Z")


class Step(NamedTuple):
    """One step from an object to another: `^{commit}` ("peel"), `~2`, `^2`."""

    kind: str  # "peel", "~", "^"
    to: str = ""  # of "peel": an object type, "object", or empty for what is no tag
    number: int = 1  # of generations (~), or of the parent (^)


class Revision(NamedTuple):
    """`base`, then the steps, then, if it is not None, the way into a tree."""

    base: bytes  # an object id, an abbreviation or a reference; "HEAD" for "@"
    steps: tuple[Step, ...] = ()
    path: bytes | None = None


@lru_cache(maxsize=256)
def parse_revision(revision: bytes) -> Revision | None:
    """None: it takes git to understand this."""
    if len(revision) > LONGEST_BYTES:
        return None
    if _BASE.fullmatch(revision) is not None:
        return None if _DESCRIBED.search(revision) else Revision(_head(revision))
    before, colon, path = revision.partition(b":")
    if _DESCRIBED.search(revision) or path.startswith((b"./", b"../")):
        return None
    steps: list[Step] = []
    while (found := _STEP.search(before)) is not None:
        peeled, sign, count = found.groups()
        if sign is None:
            steps.append(Step("peel", peeled.decode()))
        else:
            steps.append(Step(sign.decode(), number=int(count) if count else 1))
        before = before[: found.start()]
    if _BASE.fullmatch(before) is None or _DESCRIBED.search(before):
        return None
    return Revision(_head(before), tuple(reversed(steps)), path if colon else None)


def is_whole_object_id(revision: bytes, object_format: str) -> bool:
    """Whether it is an object id of full length, in whatever case."""
    return len(revision) == ID_DIGITS[object_format] and _HEX.fullmatch(revision) is not None


def may_be_abbreviation(base: bytes) -> bool:
    """Whether git would look for an object whose id begins like this."""
    return len(base) >= ABBREVIATION_DIGITS and _HEX.fullmatch(base) is not None


def _head(base: bytes) -> bytes:
    return b"HEAD" if base == b"@" else base
