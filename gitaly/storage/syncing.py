"""What must survive a power cut. All of this blocks."""

import os
import stat


def sync(path: str) -> None:
    """Write a file or the entries of a directory to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(path: str) -> None:
    """Everything below a directory, itself last. Raises OSError."""
    for parent, _, files in os.walk(path, topdown=False):
        for name in files:
            full = os.path.join(parent, name)
            if stat.S_ISREG(os.lstat(full).st_mode):  # a pipe would make us wait for its writer
                sync(full)
        sync(parent)


def sync_parents(path: str, root: str) -> None:
    """The directories above `path`, up to and with `root`, which is one of them."""
    while path not in (root, "/"):
        path = os.path.dirname(path)
        sync(path)
