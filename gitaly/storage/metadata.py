"""`.gitaly-metadata`: by its id Praefect and GitLab see which names share a file system."""

import json
import os
import tempfile
import uuid
from typing import Final

FILE_NAME: Final = ".gitaly-metadata"
KEY: Final = "gitaly_filesystem_id"


def filesystem_id(storage_path: str) -> str:
    """The id of a storage; empty if the file is missing or unreadable. Blocks, shortly."""
    try:
        with open(os.path.join(storage_path, FILE_NAME), "rb") as file:
            value = json.load(file).get(KEY, "")
    except (OSError, ValueError, AttributeError):
        return ""
    return value if isinstance(value, str) else ""


def ensure_filesystem_id(storage_path: str) -> str:
    """The id of a storage, made up now if there is none; never changed later. Blocks.

    Two nodes that start at once on one storage agree. Raises OSError.
    """
    target = os.path.join(storage_path, FILE_NAME)
    if os.path.exists(target):
        return filesystem_id(storage_path)
    fd, path = tempfile.mkstemp(prefix=FILE_NAME + "-", dir=storage_path)
    try:
        with os.fdopen(fd, "w") as file:
            json.dump({KEY: str(uuid.uuid4())}, file)
            file.flush()
            os.fsync(fd)
        os.link(path, target)  # unlike a rename, it fails if somebody else was faster
    except FileExistsError:
        pass
    finally:
        os.unlink(path)
    return filesystem_id(storage_path)
