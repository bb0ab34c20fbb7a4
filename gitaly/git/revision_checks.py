"""Whether something can be a revision at all, by its letters; git is not asked.

Source: Gitaly, internal/git/revision.go.
"""

import re
from typing import Final

from gitaly.errors import InvalidRequest

_PSEUDO: Final = re.compile(
    rb"--(all|not|branches|tags|alternate-refs|(branches|tags|glob)=[^\n\0]*)"
)


def check_revision(revision: bytes, *, may_be_pseudo: bool = False) -> None:
    """Raises InvalidRequest. `may_be_pseudo`: `--all` and its like are revisions, too."""
    if may_be_pseudo and _PSEUDO.fullmatch(revision):
        return
    for problem, is_there in (
        ("empty revision", not revision),
        ("revision can't start with '-'", revision.startswith(b"-")),
        ("revision can't contain NUL", b"\0" in revision),
        ("revision can't contain whitespace", any(c in revision for c in b" \t\r\n")),
        ("revision can't contain ':'", b":" in revision),
        ("revision can't contain '\\'", b"\\" in revision),
    ):
        if is_there:
            raise InvalidRequest(problem)


def may_be_option(revision: bytes) -> bool:
    """Whether git could take this for an option: it begins like one and is no pseudo-revision."""
    return revision.startswith(b"-") and not _PSEUDO.fullmatch(revision)
