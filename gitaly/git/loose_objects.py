"""Objects written by ourselves, into a directory that only one git gets to see."""

import hashlib
import os
import zlib
from collections.abc import Sequence
from typing import NamedTuple


class TreeItem(NamedTuple):
    """An entry of a tree that is to be written."""

    mode: int
    name: bytes
    object_id: str


def tree_data(items: Sequence[TreeItem]) -> bytes:
    """The content of a tree; the items are in git's order. Raises ValueError for a bad id."""
    return b"".join(
        b"%o %b\0%b" % (item.mode, item.name, bytes.fromhex(item.object_id)) for item in items
    )


def write_loose(directory: str, kind: str, data: bytes, object_format: str) -> str:
    """Write an object into an object directory; its id. Blocks. Raises OSError."""
    content = f"{kind} {len(data)}\0".encode() + data
    object_id = hashlib.new(object_format, content, usedforsecurity=False).hexdigest()
    parent = os.path.join(directory, object_id[:2])
    os.makedirs(parent, exist_ok=True)
    with open(os.path.join(parent, object_id[2:]), "wb") as file:
        file.write(zlib.compress(content, 1))
    return object_id
