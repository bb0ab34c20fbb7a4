"""Which files of a repository hold its licence, by their names."""

import re
from typing import Final

_NAME: Final = (
    rb"li[cs]en[cs]e(s?)|legal|copy(left|right|ing)|unlicense|l?gpl([-_ v]?)(\d\.?\d)?"
    rb"|bsd|mit|apache"
)
_LICENSE_FILE: Final = re.compile(rb"(|.*[-_. ])(%s)(|[-_. ].*)" % _NAME, re.DOTALL)
_README: Final = re.compile(rb"(readme|guidelines)(\.md|\.rst|\.html|\.txt)?\Z")
_CANONICAL: Final = re.compile(
    rb"((un)?licen[sc]e|copying)(\.md|\.txt|\.html|\.rst)?", re.IGNORECASE
)


def is_license_file(name: bytes) -> bool:
    """Whether it may hold a licence: `LICENSE`, `COPYING.txt`, `mit-license.md`, no README."""
    lower = name.lower()
    return _LICENSE_FILE.fullmatch(lower) is not None and _README.search(lower) is None


def is_canonical(name: bytes) -> bool:
    """Whether it holds the licence of the whole, not of a part like `LICENSE-3RD-PARTY`."""
    return _CANONICAL.fullmatch(name) is not None
