"""Writing git's index file, for a git that reads something only from an index.

Source: git, Documentation/gitformat-index.txt (version 2).
"""

import struct
from collections.abc import Iterable
from hashlib import sha1, sha256
from typing import Final

_HEADER: Final = struct.Struct(">4sII")
_TIMES_TO_SIZE: Final = bytes(24) + struct.pack(">I", 0o100644) + bytes(12)
_LONGEST_SAID: Final = 0xFFF  # a longer path says so and ends at its NUL


def index_file(blobs: Iterable[tuple[bytes, str]], object_format: str) -> bytes:
    """An index of regular files, given as (path, object id), without anything of a work tree."""
    entries = sorted(blobs)
    content = bytearray(_HEADER.pack(b"DIRC", 2, len(entries)))
    for path, object_id in entries:
        entry = _TIMES_TO_SIZE + bytes.fromhex(object_id)
        entry += struct.pack(">H", min(len(path), _LONGEST_SAID)) + path
        content += entry + bytes(8 - len(entry) % 8)
    hashing = sha256 if object_format == "sha256" else sha1
    return bytes(content) + hashing(content).digest()
