"""Which revisions a request may name. Source: Gitaly, internal/git/revision.go.

What passes cannot be taken for an option by git, nor end one line of its input and begin another.
"""

import re
from collections.abc import Iterable
from typing import Final

from gitaly.errors import InvalidRequest
from gitaly.git import ID_DIGITS, go_quoted

_SPACE: Final = re.compile(rb"[ \t\r\n]")
_PSEUDO: Final = frozenset({b"--all", b"--not", b"--branches", b"--tags", b"--alternate-refs"})
_PSEUDO_PREFIXES: Final = (b"--branches=", b"--tags=", b"--glob=")
_NOT_HEX: Final = re.compile(r"[^0-9a-f]")


def check_revision(
    revision: bytes,
    *,
    may_be_empty: bool = False,
    may_have_path: bool = False,
    may_be_pseudo: bool = False,
) -> None:
    """Raises InvalidRequest with Gitaly's words. It does not ask whether the revision exists.

    `may_have_path`: `main:a file` is all right. `may_be_pseudo`: options of rev-list that stand
    for revisions are all right, as long as they cannot become two lines.
    """
    if may_be_pseudo and is_pseudo(revision):
        if b"\n" in revision or b"\0" in revision:
            raise InvalidRequest("revision can't contain whitespace")
        return
    if revision.startswith(b"-"):
        raise InvalidRequest("revision can't start with '-'")
    if b"\0" in revision:
        raise InvalidRequest("revision can't contain NUL")
    if may_have_path:
        revision = revision.partition(b":")[0]
    if not revision and not may_be_empty:
        raise InvalidRequest("empty revision")
    if _SPACE.search(revision):
        raise InvalidRequest("revision can't contain whitespace")
    if b":" in revision:
        raise InvalidRequest("revision can't contain ':'")
    if b"\\" in revision:
        raise InvalidRequest("revision can't contain '\\'")


def check_revisions(
    revisions: Iterable[bytes], *, may_have_path: bool = False, may_be_pseudo: bool = False
) -> None:
    """Each of them; the text then begins with "invalid revision: ". Raises InvalidRequest."""
    for revision in revisions:
        try:
            check_revision(revision, may_have_path=may_have_path, may_be_pseudo=may_be_pseudo)
        except InvalidRequest as error:
            raise InvalidRequest(f"invalid revision: {error.message}") from None


def is_pseudo(revision: bytes) -> bool:
    """Whether it is an option of rev-list that stands for revisions, or turns their sense."""
    return revision in _PSEUDO or revision.startswith(_PSEUDO_PREFIXES)


def check_object_id(object_id: str, object_format: str) -> None:
    """Raises InvalidRequest for what is no whole object id in lower case."""
    digits = ID_DIGITS[object_format]
    if len(object_id.encode()) != digits:
        raise InvalidRequest(
            f"invalid object ID: {go_quoted(object_id)}, "
            f"expected length {digits}, got {len(object_id.encode())}"
        )
    found = _NOT_HEX.search(object_id)
    if found is not None:
        raise InvalidRequest(
            f"invalid object ID: {go_quoted(object_id)}, invalid character '{found[0]}'"
        )
