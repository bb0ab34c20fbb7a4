"""Who and when, as commits and tags have it: `Jane Doe <jane@example.com> 1700000000 +0100`.

Objects of all ages and makers are read, so nothing is an error: what can't be read is missing.
Source: Gitaly, internal/git/catfile/parser.go and internal/git/parse.go.
"""

import re
from typing import Final, NamedTuple

# What Gitaly says instead of a time that it cannot tell. No datetime goes so far.
NO_TIME_SECONDS: Final = 9223371974719179007
_LATEST_SECONDS: Final = 1 << 53
_NUMBER: Final = re.compile(rb"[+-]?[0-9]{1,99}")


class Identity(NamedTuple):
    """None: there is no such part."""

    name: bytes
    email: bytes | None = None
    seconds: int | None = None  # since 1970, or NO_TIME_SECONDS
    timezone: bytes | None = None  # as it stands there: "+0200"


def parse_identity(value: bytes) -> Identity:
    """From what follows the key of an `author`, `committer` or `tagger` line."""
    name, less, rest = value.partition(b"<")
    name = name.removesuffix(b" ")
    if not less:
        return Identity(name)
    email, greater, rest = rest.partition(b">")
    if not greater:
        return Identity(name)
    fields = rest.split()
    if not fields:
        return Identity(name, email)
    return Identity(name, email, parse_seconds(fields[0]), fields[1] if len(fields) == 2 else None)


def parse_seconds(text: bytes) -> int:
    """A time, or NO_TIME_SECONDS for what is none, before 1970, or too far away."""
    if _NUMBER.fullmatch(text) is None:
        return NO_TIME_SECONDS
    seconds = int(text)
    return seconds if 0 <= seconds <= _LATEST_SECONDS else NO_TIME_SECONDS
