"""Regular expressions of clients over paths, in the syntax and with the errors of Go's regexp.

RE2 needs a time that is linear in the length of the path for every expression; Python's own `re`
would let an expression of 30 bytes stop the node. Source of the texts: Go, regexp/syntax.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import re2

from gitaly.errors import InvalidRequest

MAX_MEMORY_BYTES: Final = 8 << 20  # of one compiled expression
_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "missing )": "missing closing )",
        "missing ]": "missing closing ]",
        "no argument for repetition operator": "missing argument to repetition operator",
        "bad repetition operator": "invalid nested repetition operator",
        "invalid named capture group": "invalid named capture",
        "invalid repetition size": "invalid repeat count",
        "invalid perl operator": "invalid or unsupported Perl syntax",
    }
)
_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")
_SINGLE_BYTE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\C")  # RE2 knows it, Go does not


class PathFilter:
    """Whether a path matches somewhere. Raises InvalidRequest for what is no expression."""

    def __init__(self, expression: str) -> None:
        if _SINGLE_BYTE.search(expression):
            raise InvalidRequest(r"error parsing regexp: invalid escape sequence: `\C`")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_MEMORY_BYTES
        try:
            self._search = re2.compile(expression.encode(), options).search
        except re2.error as error:
            raise InvalidRequest(f"error parsing regexp: {_text_of(error)}") from None

    def matches(self, path: bytes) -> bool:
        """What is not UTF-8 counts as one replacement character a byte."""
        if not path.isascii():
            text = path.decode(errors="surrogateescape")
            path = _NOT_UTF8.sub("\ufffd", text).encode()
        return self._search(path) is not None


def _text_of(error: Exception) -> str:
    said = error.args[0].decode(errors="replace")
    if said.startswith("pattern too large"):
        return "expression too large"
    if said.startswith("trailing \\"):
        return "trailing backslash at end of expression: ``"
    problem, _, part = said.partition(": ")
    return f"{_TEXTS.get(problem, problem)}: `{part}`"
