"""The file that names the process, for a wrapper that restarts us."""

import os
from collections.abc import Mapping

from gitaly.errors import NodeError
from gitaly.supervision.switches import PID_FILE


class CannotWritePidFile(NodeError):
    """The file that GITALY_PID_FILE names cannot be written."""


class PidFile:
    """Nothing, if the environment names none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._path = environment.get(PID_FILE, "")

    def write(self) -> None:
        """This process is the node. Readers see the old content or the new. Raises
        CannotWritePidFile."""
        if not self._path:
            return
        temporary = f"{self._path}.{os.getpid()}"
        try:
            with open(temporary, "w") as file:
                file.write(str(os.getpid()))  # no newline: the wrapper does not expect one
            os.rename(temporary, self._path)
        except OSError as error:
            raise CannotWritePidFile(f"{PID_FILE}: {self._path}: {error.strerror}") from error
