"""Pointers of Git LFS: small files in place of large ones. Source: git-lfs, docs/spec.md."""

import re
from typing import Final, NamedTuple

LARGEST_BYTES: Final = 200  # of what can be one; a rule of Gitaly's
_VERSION: Final = b"version https://git-lfs.github.com/spec"
_ID: Final = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_SIZE: Final = re.compile(rb"^size ([0-9]+)$", re.MULTILINE)
_MAXIMUM: Final = 2**63 - 1


class LFSPointer(NamedTuple):
    """The file that a pointer stands for."""

    file_id: bytes  # SHA-256, in hex
    file_size: int


def parse_lfs_pointer(data: bytes) -> LFSPointer | None:
    """From the content of a blob; None: it is no pointer."""
    if not data.startswith(_VERSION):
        return None
    file_id, size = _ID.search(data), _SIZE.search(data)
    if file_id is None or size is None or int(size[1]) > _MAXIMUM:
        return None
    return LFSPointer(file_id[1], int(size[1]))
