"""A node as a service manager runs it: with sockets passed on, told about, replaced."""

import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.e2e.conversation import of_process
from tests.e2e.node_process import (
    BIN,
    PATIENCE_SECONDS,
    NodeProcess,
    all_pids,
    command_line,
    wait_until,
)

# What systemd does between fork and exec: descriptors 3, 4, …, and the number of the process.
LAUNCHER: Final = """
import os, sys
fds = [int(x) for x in sys.argv[1].split(",")]
copies = [os.dup2(fd, 100 + place) for place, fd in enumerate(fds)]
for place, copy in enumerate(copies):
    os.dup2(copy, 3 + place)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """The socket that systemd would listen to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._messages: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._listening = threading.Thread(target=self._listen)  # or the kernel's queue gets full
        self._listening.start()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self._messages.put(parsed(message))

    def hear(self) -> dict[str, str]:
        """The next message, which must come."""
        return self._messages.get(timeout=PATIENCE_SECONDS)

    def hear_until(self, name: str, start: str = "") -> dict[str, str]:
        """The next message that has a variable, whose value begins so."""
        heard = []
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            heard.append(self.hear())
            if name in heard[-1] and heard[-1][name].startswith(start):
                return heard[-1]
        raise AssertionError(f"no {name}={start} in {heard}")

    def pending(self) -> list[dict[str, str]]:
        """What was said and not heard yet."""
        found = []
        while not self._messages.empty():
            found.append(self.hear())
        return found

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._listening.join()
        self._socket.close()


def parsed(message: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in message.decode().splitlines())


@dataclass
class Service(NodeProcess):
    """`gitaly serve`, whose process may change: `pid` is that of the one which serves."""

    environment: Mapping[str, str] = field(default_factory=dict)
    passed: Sequence[socket.socket] = ()
    names: str = ""  # LISTEN_FDNAMES
    program: Sequence[str | Path] = (BIN / "gitaly",)
    main_pid: int = 0

    @property
    def pid(self) -> int:
        return self.main_pid or super().pid

    @property
    def pid_file(self) -> Path:
        return self.directory / "pid"

    @property
    def config(self) -> Path:
        return self.directory / "config.toml"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for anything."""
        self.storage.mkdir(parents=True, exist_ok=True)
        (self.directory / "run").mkdir(exist_ok=True)
        if not self.config.exists():
            self.config.write_text(self._configuration())
        command: list[str | Path] = [*self.program, "serve", self.config]
        environment = {**os.environ, "GITALY_PID_FILE": str(self.pid_file), **self.environment}
        numbers = [listening.fileno() for listening in self.passed]
        if numbers:
            environment["LISTEN_FDNAMES"] = self.names
            command = [sys.executable, "-c", LAUNCHER, ",".join(map(str, numbers)), *command]
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=numbers,
            )
        return self._process

    def start(self, *program: object) -> None:
        assert not program, "the programs of these are known"
        seen = len(self.log())
        self.launch()
        self.await_start(seen)

    def await_start(self, seen: int = 0) -> None:
        wait_until(lambda: self._has_started(seen), "the node to start")
        self.main_pid = int(self.pid_file.read_text())

    def messages(self, pid: int | None = None) -> list[str]:
        return [line["msg"] for line in self.lines() if pid in (None, line["pid"])]

    def logged(self, message: str, pid: int | None = None) -> dict[str, Any]:
        """A line of the log, which must come."""
        wait_until(lambda: message in self.messages(pid), f"{message!r}:\n{self.log()}")
        return next(x for x in self.lines() if x["msg"] == message and pid in (None, x["pid"]))

    def order_restart(self, number: int = signal.SIGUSR1) -> int:
        """Ask for another process; the pid of the one that is asked."""
        os.kill(self.pid, number)
        return self.pid

    def restart(self, number: int = signal.SIGUSR1) -> int:
        """Have another process serve; the pid of the old one."""
        old = self.order_restart(number)
        new = int(self.logged("Upgrade succeeded", old)["new_pid"])
        self.logged("Started Gitaly", new)
        self.main_pid = new
        return old

    def stop(self) -> None:
        """The process that serves; and nothing is left, of any process."""
        with watched(self.pid) as ended:
            os.kill(self.pid, signal.SIGTERM)
            assert ended(), self.log()
        assert self._process is not None
        self._process.wait(PATIENCE_SECONDS)
        assert list((self.directory / "run").iterdir()) == []

    def kill_all(self) -> None:
        """Whatever still runs, at the end of a test."""
        for pid in all_pids():
            if str(self.config).encode() in command_line(pid):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()


@contextmanager
def watched(pid: int) -> Iterator[Any]:
    """Gives a function that waits for the end of a process, whoever its parent is."""
    descriptor = os.pidfd_open(pid)
    try:
        yield lambda: bool(select.select([descriptor], [], [], PATIENCE_SECONDS)[0])
    finally:
        os.close(descriptor)


@contextmanager
def held_start(node: Service) -> Iterator[tuple[int, int]]:
    """A new process that waits in the middle of its start: the old one and the new one."""
    token = node.directory / "token"
    os.mkfifo(token, 0o600)
    node.config.write_text(f"{node.config.read_text()}\n[auth]\ntoken_file = '{token}'\n")
    old = node.order_restart()
    new = int(node.logged("[graceful upgrade] starting new Gitaly", old)["new_pid"])
    wait_until(lambda: waits_for_a_pipe(new), "the new process to read its token")
    yield old, new


def waits_for_a_pipe(pid: int) -> bool:
    return "wait_for_partner" in of_process(pid, "wchan") or "fifo" in of_process(pid, "wchan")
