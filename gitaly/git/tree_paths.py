"""Paths in trees."""

from gitaly.errors import InvalidRequest


def clean_tree_path(path: bytes) -> bytes:
    """The path without what does not matter ("//", ".", "x/.."); "." for the root itself.

    A leading slash means the root. Raises InvalidRequest for one that leaves the root.
    """
    if b"\0" in path:
        raise InvalidRequest("relative path contains a null byte")
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidRequest("relative path escapes root directory")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts) or b"."
