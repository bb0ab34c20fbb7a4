"""A node as an operator runs it: a process of its own, and what can be seen of it from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.git.support import children_of

BIN: Final = Path(sys.executable).parent
PATIENCE_SECONDS: Final = 20  # for what happens soon, on a busy machine too
# The hook program of an installed Gitaly, which then serves the nodes of tests/e2e as well.
REFERENCE_HOOKS: Final = os.environ.get("GITALY_HOOKS_REFERENCE", "")
LEFTOVERS: Final = ("tmp_objdir*", "incoming-*", "tmp_pack_*", "*.lock")


def wait_until(
    happened: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS
) -> None:
    """Come back as soon as it is so; fail if it takes too long."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


def below(directory: Path) -> Iterator[Path]:
    """All that is in it; what goes away meanwhile may be left out."""
    for place, directories, files in os.walk(directory):
        yield from (Path(place, name) for name in (*directories, *files))


@dataclass
class NodeProcess:
    """`gitaly serve` in a directory; started by `start`, and again after `kill`."""

    directory: Path
    extra: str = ""  # lines of its configuration
    top: str = ""  # lines that stand before any table
    certificate: Path | None = None
    tcp: int = field(default_factory=lambda: free_port())
    tls: int = field(default_factory=lambda: free_port())
    _process: subprocess.Popen[bytes] | None = None

    @property
    def storage(self) -> Path:
        return self.directory / "storage"

    @property
    def socket(self) -> Path:
        return self.directory / "node.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def start(self, *program: object) -> None:
        """`program`: what to run in the place of `gitaly serve`."""
        self.storage.mkdir(parents=True, exist_ok=True)
        (self.directory / "run").mkdir(exist_ok=True)
        config = self.directory / "config.toml"
        config.write_text(self._configuration())
        with open(self.directory / "log", "ab") as log:
            seen = log.tell()
            command = [str(part) for part in program or (BIN / "gitaly", "serve", config)]
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_until(lambda: self._has_started(seen), "the node to start")
        if REFERENCE_HOOKS:
            self._give_hooks(REFERENCE_HOOKS)

    def _give_hooks(self, program: str) -> None:
        """Let git run another program for all hooks; ours and that one are to be told alike."""
        (own,) = (self.directory / "run").glob(f"*-{self.pid}/gitaly-hooks")
        own.unlink()
        own.symlink_to(program)

    def _has_started(self, log_before: int) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return "Started Gitaly" in self.log()[log_before:]

    def _configuration(self) -> str:
        tls = ""
        if self.certificate is not None:
            key = self.certificate.with_suffix(".key")
            tls = f'[tls]\ncertificate_path = "{self.certificate}"\nkey_path = "{key}"\n'
        listen = f'tls_listen_addr = "127.0.0.1:{self.tls}"\n' if tls else ""
        return (
            f'socket_path = "{self.socket}"\n'
            f'listen_addr = "127.0.0.1:{self.tcp}"\n'
            f"{listen}{self.top}"
            f'runtime_dir = "{self.directory / "run"}"\n'
            '[logging]\nformat = "json"\n'
            f'[[storage]]\nname = "default"\npath = "{self.storage}"\n'
            f"{tls}{self.extra}"
        )

    def stop(self) -> None:
        """As an operator does; it must end well."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(PATIENCE_SECONDS) == 0, self.log()
        assert not self.socket.exists()
        assert list((self.directory / "run").iterdir()) == []

    def ended(self) -> int:
        """Wait for its end, which something else has caused; the exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """As a power failure does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def lines(self) -> list[dict[str, Any]]:
        """The log; without a line that is just being written."""
        whole = self.log().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def errors(self) -> list[dict[str, Any]]:
        """Lines of the log that nobody should find there."""
        raw = [{"raw": x} for x in self.log().splitlines() if not x.startswith("{")]
        return raw + [x for x in self.lines() if "Traceback" in str(x.get("exception", ""))]

    def children(self) -> list[int]:
        """What works for calls; spawners of git stay."""
        return [pid for pid in children_of(self.pid) if pid not in self.spawners()]

    def spawners(self) -> list[int]:
        return [pid for pid in children_of(self.pid) if b"spawner_program" in command_line(pid)]

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the kernel does not say VmRSS")

    def leftovers(self) -> list[str]:
        found = [str(x) for x in (self.storage / "+gitaly" / "tmp").glob("*")]
        for repository in self.storage.glob("*.git"):
            found += [str(x) for x in below(repository) if any(map(x.match, LEFTOVERS))]
        return found

    def git_running(self) -> list[int]:
        """Every git that works in the storage, whoever its parent is."""
        return [pid for pid in all_pids() if str(self.storage).encode() in command_line(pid)]

    @contextmanager
    def quiet_afterwards(self) -> Iterator[None]:
        """Nothing of what happens in the block is left: no process, descriptor, file, error."""
        before, errors = self.descriptors(), len(self.errors())
        yield
        wait_until(lambda: not self.children(), "git to end at the node")
        wait_until(lambda: self.descriptors() <= before + 6, "the node to close descriptors")
        wait_until(lambda: not self.leftovers(), f"{self.leftovers()} to be removed")
        found = self.errors()[errors:]
        assert found == [], found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants_of(pid: int) -> list[int]:
    children = children_of(pid)
    return children + [found for child in children for found in descendants_of(child)]


def all_pids() -> list[int]:
    return [int(x) for x in os.listdir("/proc") if x.isdigit()]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def terminate_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a client and everything that it started; it leads a group of its own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
