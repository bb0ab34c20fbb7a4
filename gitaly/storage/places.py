"""Where things are in a storage, besides repositories. Source: Gitaly, internal/gitaly/config."""

import os
from typing import Final

DATA_DIRECTORY: Final = "+gitaly"
FULL_REPACK_TIMESTAMP: Final = ".gitaly-full-repack-timestamp"  # in a repository; its mtime counts


def temporary_directory(storage_path: str) -> str:
    """For what lives shorter than a call; swept by `tempdirs`."""
    return os.path.join(storage_path, DATA_DIRECTORY, "tmp")
