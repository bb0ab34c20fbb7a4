"""Paths stay below the root of their storage, in their letters and through symbolic links."""

import errno
import os
from typing import Final

from gitaly.errors import InvalidRequest
from gitaly.git import reason

_UNUSABLE: Final = (errno.ENAMETOOLONG, errno.ELOOP)


class PathEscapes(InvalidRequest):
    """A path leads, by its letters or by a link, to a place outside of its storage."""

    def __init__(self, relative_path: str) -> None:
        super().__init__("relative path escapes root directory", relative_path=relative_path)


def joined(root: str, relative_path: str) -> str:
    """The clean absolute path; a leading "/" counts as below the root, the root itself is allowed.

    Raises PathEscapes, and InvalidRequest for what no file system could hold.
    """
    if "\0" in relative_path:
        raise InvalidRequest("relative path contains a null byte")
    path = os.path.normpath(f"{root}/{relative_path}")
    if path != root and not path.startswith(root if root == "/" else root + "/"):
        raise PathEscapes(relative_path)
    return path


def opened_directory(path: str) -> int:
    """A descriptor that names a directory and reads nothing. Raises OSError, InvalidRequest."""
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNUSABLE:
            raise InvalidRequest(f"relative path is not valid: {reason(error)}") from None
        raise


def check_contained(real_root: str, fd: int, relative_path: str) -> None:
    """Raise PathEscapes if the directory that `fd` names is not below the root.

    The kernel tells where it has arrived: 3 µs, against 12 for os.path.realpath().
    """
    real = os.readlink(f"/proc/self/fd/{fd}")
    if real != real_root and not real.startswith(
        real_root if real_root == "/" else real_root + "/"
    ):
        raise PathEscapes(relative_path)


def check_future_contained(real_root: str, path: str, relative_path: str) -> None:
    """The same for something that may not exist: its deepest existing ancestor decides.

    Raises PathEscapes, InvalidRequest.
    """
    while True:
        try:
            fd = opened_directory(path)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(path):  # it leads nowhere yet
                raise PathEscapes(relative_path) from None
            path = os.path.dirname(path)
            continue
        except PermissionError:
            raise InvalidRequest("relative path is not valid: permission denied") from None
        try:
            return check_contained(real_root, fd, relative_path)
        finally:
            os.close(fd)
