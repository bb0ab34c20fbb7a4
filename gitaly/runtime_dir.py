"""The directory of one running process: its sockets, later its hooks. Gone when the process ends.

Layout and clean-up as Gitaly's, so that an operator finds the same names.
Source: internal/gitaly/config/temp_dir.go.
"""

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from gitaly.errors import NodeError
from gitaly.observe.log import Logger

PREFIX: Final = "gitaly-"
SOCKETS: Final = "sock.d"
STATUS: Final = "status"  # the socket on which a process tells what it is doing


class NoRuntimeDirectory(NodeError):
    """The directory cannot be made or cannot hold a socket."""


class RuntimeDirectory:
    """`<runtime_dir>/gitaly-<pid>`, or a fresh one among the system's temporary directories."""

    def __init__(self, parent: str, logger: Logger) -> None:
        self._parent = parent  # empty: none is configured
        self._logger = logger
        self.path = ""

    def __enter__(self) -> Self:
        try:
            if self._parent:
                self._prune()
                self.path = os.path.join(self._parent, f"{PREFIX}{os.getpid()}")
                os.mkdir(self.path, 0o700)
            else:
                self.path = tempfile.mkdtemp(prefix=PREFIX)
            os.mkdir(self._sockets, 0o700)
            self._probe()
        except OSError as error:
            self._remove()
            raise NoRuntimeDirectory(f"creating runtime directory: {error}") from error
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    @property
    def _sockets(self) -> str:
        return os.path.join(self.path, SOCKETS)

    @property
    def internal_socket(self) -> str:
        """Where hooks of our git children find us."""
        return os.path.join(self._sockets, "intern")

    def socket(self, name: str) -> str:
        """The path of another private socket."""
        return os.path.join(self._sockets, name)

    def _probe(self) -> None:
        """Fail now, with advice, if paths are too long for sockets (about 100 bytes)."""
        path = self.socket("c-4294967295")  # as long as any name that we use
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.bind(path)
            except OSError as error:
                raise NoRuntimeDirectory(
                    f"failed creating internal test socket: {error.strerror or error}: your socket"
                    " path is likely too long, please change Gitaly's runtime directory"
                ) from error
        os.unlink(path)

    def _prune(self) -> None:
        """Remove what dead processes left; also what an earlier process with our pid left."""
        for entry in os.scandir(self._parent):
            if not entry.is_dir(follow_symlinks=False):
                continue
            pid = entry.name.removeprefix(PREFIX)
            if not entry.name.startswith(PREFIX) or not pid.isascii() or not pid.isdigit():
                self._logger.error(
                    "could not prune entry",
                    error="gitaly process directory contains an unexpected directory: "
                    f'"{entry.name}"',
                    path=entry.path,
                )
                continue
            if int(pid) == os.getpid() or not _lives(int(pid)):
                shutil.rmtree(entry.path, ignore_errors=True)
                self._logger.info("removed leftover gitaly process directory", path=entry.path)

    def _remove(self) -> None:
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)


def status_sockets(parent: str, owners: Collection[int] = ()) -> list[str]:
    """Where processes tell what they are doing: those whose `runtime_dir` is `parent`.

    Empty: those that have none. They are among the temporary directories, where anybody can make
    one to tell lies: only those of `owners`, of root and of this user are found. Raises OSError.
    """
    trusted = {0, os.geteuid(), *owners}
    found = []
    with os.scandir(parent or tempfile.gettempdir()) as entries:
        for entry in entries:
            name = entry.name.removeprefix(PREFIX)
            if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            if not parent and entry.stat(follow_symlinks=False).st_uid not in trusted:
                continue
            if not parent or (name.isascii() and name.isdigit() and _exists(int(name))):
                found.append(os.path.join(entry.path, SOCKETS, STATUS))
    return sorted(found)


def _lives(pid: int) -> bool:
    """Whether a process of ours has this number; somebody else's is not a node of ours."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError, OverflowError):
        return False
    return pid != 0


def _exists(pid: int) -> bool:
    """Whether any process has this number."""
    return os.path.exists(f"/proc/{pid}")
