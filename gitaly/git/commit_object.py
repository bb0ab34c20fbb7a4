"""Commit objects. Source: Gitaly, internal/git/catfile/parse_commit.go; git, commit.c."""

import re
from dataclasses import dataclass, field
from typing import Final

SIGNATURE_KEYS: Final = (b"gpgsig", b"gpgsig-sha256")
_LINES: Final = re.compile(rb"[^\n]*\n|[^\n]+")


@dataclass(slots=True)
class Commit:
    """What the headers and the message of a commit say, as raw as they are.

    Nothing is an error: a header that is missing is empty or None. Headers that follow a signature
    do not count, as for git.
    """

    tree_id: bytes = b""
    parent_ids: list[bytes] = field(default_factory=list)
    author: bytes | None = None  # `parse_identity` reads it
    committer: bytes | None = None
    encoding: bytes = b""
    signature: bytes | None = None  # the first one, without indentation and its last line feed
    message: bytes = b""


def parse_commit(data: bytes) -> Commit:
    """Read a commit object. 3 µs, and 1 µs more for each signature."""
    commit = Commit()
    head, _, commit.message = _cut(data)
    lines = head.split(b"\n")
    for number, line in enumerate(lines):
        key, _, value = line.partition(b" ")
        if key == b"parent":
            commit.parent_ids.append(value)
        elif key == b"tree":
            commit.tree_id = value
        elif key == b"author":
            commit.author = value
        elif key == b"committer":
            commit.committer = value
        elif key == b"encoding":
            commit.encoding = value
        elif key in SIGNATURE_KEYS and len(line) > len(key):
            commit.signature = b"\n".join([value, *_indented(lines, number + 1)])
            break
    return commit


def signed_payload(data: bytes) -> bytes:
    """What was signed: the object without its signature headers.

    Those are the first one and the ones that follow it at once. As for Gitaly, lines before them
    that are no headers, because they hold no space, have gone, too.
    """
    head, separator, message = _cut(data)
    lines = _LINES.findall(head + b"\n" if head and separator else head)
    kept, number = [], 0
    while number < len(lines):
        line = lines[number]
        if _is_signature(line):
            while number < len(lines) and _is_signature(lines[number]):
                number += 1 + len(_indented(lines, number + 1))
            kept += lines[number:]
            break
        if b" " in line:
            kept.append(line)
        number += 1
    return b"".join(kept) + separator[:1] + message


def _cut(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Headers, what ends them, message. The first empty line ends them, also the very first."""
    if data.startswith(b"\n"):
        return b"", b"\n", data[1:]
    return data.partition(b"\n\n")


def _is_signature(line: bytes) -> bool:
    key, space, _ = line.partition(b" ")
    return bool(space) and key in SIGNATURE_KEYS


def _indented(lines: list[bytes], start: int) -> list[bytes]:
    """The lines from there on that continue a header, without the space that says so."""
    found = []
    for line in lines[start:]:
        if not line.startswith(b" "):
            break
        found.append(line[1:])
    return found
