"""Object format and reference backend of a repository, from the text of its config file.

A git process just to ask would cost a thousand times as much. Source: Gitaly,
internal/git/gitcmd/object_id.go and reference_backend.go: the first line with the key counts, in
any section.
"""

import os
import re
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from gitaly.errors import Internal
from gitaly.git.os_errors import reason
from gitaly.git.quoting import go_quoted

_OBJECT_FORMAT: Final = re.compile(rb"^[ \t]*(?i:objectformat)[ \t]*=[ \t]*([^ \t;#\r\n]*)", re.M)
_REF_STORAGE: Final = re.compile(rb"^[ \t]*(?i:refstorage)[ \t]*=[ \t]*([^ \t;#\r\n]*)", re.M)
_PARTIAL_CLONE: Final = re.compile(rb"^[ \t]*(?i:partialclone)[ \t]*=", re.M)
OBJECT_FORMATS: Final = frozenset({"sha1", "sha256"})


@dataclass(frozen=True, slots=True)
class Format:
    """How a repository stores things."""

    object_format: str  # "sha1", "sha256"
    reference_backend: str  # "files", "reftable"
    is_partial_clone: bool = False


class Formats:
    """Knows the formats of the repositories that were asked for last."""

    def __init__(self, maximum: int = 10000) -> None:
        self._known: LRUCache[str, tuple[tuple[int, ...], Format]] = LRUCache(maximum)

    def of(self, path: str) -> Format:
        """Of the repository at this path; 2 µs while its config file is unchanged.

        Raises Internal if the file cannot be read or names a format that nobody knows.
        """
        try:
            status = os.stat(os.path.join(path, "config"))
        except OSError as error:
            raise Internal(f"detecting object hash: open config: {reason(error)}") from error
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._known.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        found = read_format(path)
        self._known[path] = (identity, found)
        return found


def read_format(path: str) -> Format:
    """Read the config file now. Raises Internal."""
    try:
        with open(os.path.join(path, "config"), "rb") as file:
            text = file.read()
    except OSError as error:
        raise Internal(f"detecting object hash: open config: {reason(error)}") from error
    object_format = _value(_OBJECT_FORMAT, text, "sha1")
    if object_format not in OBJECT_FORMATS:
        raise Internal(f"detecting object hash: unknown object format: {go_quoted(object_format)}")
    backend = _value(_REF_STORAGE, text, "files")
    if backend not in ("files", "reftable"):
        raise Internal(
            f"detecting reference backend: unknown reference backend: {go_quoted(backend)}"
        )
    return Format(object_format, backend, _PARTIAL_CLONE.search(text) is not None)


def _value(pattern: re.Pattern[bytes], text: bytes, default: str) -> str:
    found = pattern.search(text)
    return found[1].decode(errors="replace") if found else default
