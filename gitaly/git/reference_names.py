"""Which names a reference can have. Source: git-check-ref-format(1)."""

import re
from typing import Final

_FORBIDDEN: Final = re.compile(
    rb"[\x00-\x20\x7f~^:?*\[\\]"  # bytes that no name holds
    rb"|\.\.|@\{|//"
    rb"|(?:\A|/)\."  # a component begins with a dot
    rb"|\.lock(?:/|\Z)"  # or ends as a lock file
    rb"|/\Z|\.\Z|\A/"
)


def is_valid_reference_name(name: bytes) -> bool:
    """Whether `refs/heads/main` or the like is a name that git takes, with two components at least.

    Cheaper than libgit2, and unlike it as strict as git: "refs//heads/main" is no name.
    """
    return b"/" in name and _FORBIDDEN.search(name) is None
