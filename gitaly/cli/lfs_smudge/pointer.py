"""What git-lfs stores instead of a large file."""

import re
from typing import Final

LARGEST_BYTES: Final = 1024  # of a pointer
_VERSION: Final = b"version https://git-lfs.github.com/spec"
_OBJECT_ID: Final = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_SIZE: Final = re.compile(rb"^size [0-9]{1,19}$", re.MULTILINE)


def pointed_to(data: bytes) -> str | None:
    """The object id in a pointer; None: this is no pointer."""
    if len(data) > LARGEST_BYTES or not data.startswith(_VERSION) or not _SIZE.search(data):
        return None
    found = _OBJECT_ID.search(data)
    return found[1].decode() if found else None
