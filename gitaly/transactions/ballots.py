"""What is voted on: the bytes whose hash every node of a cluster must arrive at.

A byte or a vote more or less on one node is fatal to that node's copy, so each rule here is the
reference's. Hashes are SHA-1, for repositories of either object format.
Source: Gitaly, internal/gitaly/hook, internal/safe, internal/gitaly/repoutil/custom_hooks.go.
"""

import stat
from hashlib import sha1
from typing import Final

from gitaly.storage import digest_of

# Cast at the end of a push, whatever came of it: a call without a vote would count as one that
# left the other nodes behind. It is no hash of anything.
CONCLUSION: Final = bytes(20)

LOCKED_FILE: Final = digest_of(b"preparing commit locked file")
CUSTOM_HOOKS: Final = digest_of(b"preparing set custom hooks")
REPOSITORY_LINKED: Final = digest_of(b"repository linked")
NO_ALTERNATES: Final = digest_of(b"no alternates")
MIGRATE_OBJECTS: Final = digest_of(b"migrate objects")
DISCONNECT_ALTERNATE: Final = digest_of(b"disconnect alternate")

_FORCE_DELETIONS: Final = tuple(b"0" * n + b" " + b"0" * n + b" " for n in (40, 64))
# Go's os.FileMode has bits of its own where the kernel's st_mode has the file's type.
_GO_BITS: Final = (
    (stat.S_ISUID, 0x00800000),
    (stat.S_ISGID, 0x00400000),
    (stat.S_ISVTX, 0x00100000),
)
_GO_DIRECTORY: Final = 0x80000000
_GO_SYMLINK: Final = 0x08000000


def hook_synchronization(hook: str) -> bytes:
    """By which nodes wait for the one that runs a hook: "pre-receive", "update", …"""
    return digest_of(f"synchronize {hook} hook".encode())


def reference_updates(lines: bytes) -> bytes | None:
    """For what git gives to its reference-transaction hook; None: no vote is cast.

    That is so where all updates are deletions without an old value: git cleans the packed
    references like that, and what is packed differs from node to node.
    """
    if all(line.startswith(_FORCE_DELETIONS) for line in lines.splitlines()):
        return None
    return digest_of(lines)


class DirectoryBallot:
    """For a directory of custom hooks. Feed it depth first, the names of each directory in the
    order of their bytes, and the directory itself first, as "."."""

    def __init__(self) -> None:
        self._hash = sha1(usedforsecurity=False)

    def entry(self, relative_path: bytes, mode: int, content: bytes = b"") -> None:
        """`mode`: st_mode. `content`: of a file, or of what a symbolic link leads to."""
        self._hash.update(relative_path)
        self._hash.update(_go_mode(mode).to_bytes(4, "big"))
        if not stat.S_ISDIR(mode):
            self._hash.update(content)

    def digest(self) -> bytes:
        """20 bytes."""
        return self._hash.digest()


def _go_mode(mode: int) -> int:
    found = mode & 0o777
    for bit, go_bit in _GO_BITS:
        if mode & bit:
            found |= go_bit
    if stat.S_ISDIR(mode):
        found |= _GO_DIRECTORY
    if stat.S_ISLNK(mode):
        found |= _GO_SYMLINK
    return found
