"""`info/alternates`: the object directories that an object directory borrows from.

Source: gitrepository-layout(5).
"""

import os


def named_alternates(content: bytes) -> list[bytes]:
    """What the file names, as it stands there: absolute, or relative to the object directory."""
    return [line for line in content.split(b"\n") if line and not line.startswith(b"#")]


def alternates_of(objects: str) -> list[str]:
    """The directories that this one names, absolute; theirs are not among them. Blocks.

    None of them need exist. Raises OSError, FileNotFoundError if there is no such file.
    """
    with open(os.path.join(objects, "info/alternates"), "rb") as file:
        names = named_alternates(file.read())
    return [os.path.normpath(os.path.join(objects, os.fsdecode(name))) for name in names]
