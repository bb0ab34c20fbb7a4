"""The processes that are measured, and what the kernel knows of them."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = """
listen_addr = "127.0.0.1:{port}"
socket_path = "{directory}/gitaly.socket"
runtime_dir = "{directory}"
{top}
[[storage]]
name = "default"
path = "{storage}"
[logging]
format = "json"
"""


@dataclass(frozen=True)
class Measured:
    """A running process that listens on a TCP port."""

    pid: int
    port: int
    storage: Path
    log: Path

    def cpu_seconds(self) -> float:
        """Of the process and of its children that have ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS

    def memory_bytes(self) -> int:
        """Resident now."""
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        """Resident at most, since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Let the peak start anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, key: str) -> int:
        found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answers(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Return when the port accepts connections."""
    while True:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.005)


@contextlib.contextmanager
def node(storage: Path, extra: str = "", top: str = "") -> Iterator[Measured]:
    """A node that serves a directory. `extra`: tables of its configuration; `top`: lines that
    stand before any table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        port = free_port()
        config = Path(directory, "config.toml")
        text = CONFIG.format(port=port, directory=directory, storage=storage, top=top)
        config.write_text(text + extra)
        command = [Path(sys.executable).with_name("gitaly"), "serve", config]
        with open(Path(directory, "log"), "wb") as log, _running(command, log) as process:
            wait_until_answers(process, port)
            yield Measured(process.pid, port, storage, Path(directory, "log"))


@contextlib.contextmanager
def gitlab() -> Iterator[str]:
    """An internal API that allows everything; the URL."""
    port = free_port()
    command = [sys.executable, Path(__file__).with_name("gitlab.py"), str(port)]
    with _running(command, None) as process:
        wait_until_answers(process, port)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def empty_handler() -> Iterator[Measured]:
    """A grpc.aio server whose handler does nothing: the floor under every call."""
    port = free_port()
    command = [sys.executable, Path(__file__).with_name("empty_handler.py"), str(port)]
    with _running(command, None) as process:
        wait_until_answers(process, port)
        yield Measured(process.pid, port, Path(), Path())


@contextlib.contextmanager
def _running(command: list[object], log: object) -> Iterator["subprocess.Popen[bytes]"]:
    arguments = [str(part) for part in command]
    process = subprocess.Popen(arguments, stdout=log, stderr=log)  # type: ignore[call-overload]  # a file or None
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
