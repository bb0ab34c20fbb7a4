"""Looking into a node as an operator does: by the commands, or by what they read."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from gitaly.cli.nodes import processes_of
from gitaly.config import load
from gitaly.inspection import FRESH_SECONDS
from gitaly.observe.snapshot import CallState, Snapshot
from tests.e2e.node_process import BIN, NodeProcess, wait_until


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Looker:
    """Somebody who looks into one node."""

    node: NodeProcess

    @property
    def config(self) -> Path:
        return self.node.directory / "config.toml"

    def look(self) -> Snapshot:
        """The node as it is from now on: what others have looked at before is not enough."""
        asked, found = time.time(), self._look()
        while found.taken < asked:
            time.sleep(FRESH_SECONDS / 5)
            found = self._look()
        return found

    def _look(self) -> Snapshot:
        [process] = processes_of(load(str(self.config)))
        assert process.snapshot is not None, process.problem
        return process.snapshot

    def calls(self, method: str) -> list[CallState]:
        return [call for call in self.look().calls if call.rpc.endswith(f"/{method}")]

    def until_calls(self, method: str, *phases: str) -> list[CallState]:
        """The calls of a method, once they are in these phases."""
        found: list[CallState] = []

        def as_expected() -> bool:
            found[:] = self.calls(method)
            return sorted(call.phase for call in found) == sorted(phases)

        wait_until(as_expected, f"calls that are {phases}")
        return found

    def gitaly(self, command: str, *arguments: str) -> Said:
        done = subprocess.run(
            [BIN / "gitaly", command, self.config, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Said(done.returncode, done.stdout, done.stderr)
