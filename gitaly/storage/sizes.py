"""How much room things take. All of this blocks."""

import os


def directory_size(path: str) -> int:
    """Bytes of all files below a directory, as their length says; directories count nothing.

    Links are not followed, garbage counts, what vanishes meanwhile does not. Raises OSError, also
    if `path` itself is missing. Source: Gitaly, internal/gitaly/service/repository/size.go.
    """
    total = 0
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += _length(entry)
        except FileNotFoundError:
            if directory == path:
                raise
    return total


def _length(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
