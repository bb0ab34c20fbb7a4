"""Which paths in a tree a request may name. Source: Gitaly, internal/gitaly/service/commit."""

from gitaly.errors import InvalidRequest


def clean_path(path: bytes) -> bytes:
    """As Go's filepath.Clean: no empty or "." components, ".." taken back where it can be."""
    parts: list[bytes] = []
    is_absolute = path.startswith(b"/")
    for part in path.split(b"/"):
        if part == b".." and parts and parts[-1] != b"..":
            parts.pop()
        elif part == b"..":
            if not is_absolute:
                parts.append(part)
        elif part not in (b"", b"."):
            parts.append(part)
    cleaned = b"/".join(parts)
    return b"/" + cleaned if is_absolute else cleaned or b"."


def leaves_its_root(path: bytes) -> bool:
    """Whether a relative path leads out of the tree."""
    cleaned = clean_path(path)
    return cleaned == b".." or cleaned.startswith(b"../")


def local_path(path: bytes) -> bytes:
    """A path that must be there and inside the tree, as it is. Raises InvalidRequest."""
    if not path:
        raise InvalidRequest("empty Path")
    if path.startswith(b"/") or leaves_its_root(path):
        raise InvalidRequest("path escapes repository root")
    return path


def path_or_root(path: bytes) -> bytes:
    """A path inside of the tree; "." for the root, however it is written. Raises InvalidRequest."""
    if path in (b"", b"/"):
        return b"."
    if path.startswith(b"/"):
        raise InvalidRequest("path is an absolute path")
    if leaves_its_root(path):
        raise InvalidRequest("path escapes repository")
    return clean_path(path)
