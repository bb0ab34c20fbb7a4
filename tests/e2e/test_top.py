"""`gitaly top` on a terminal: a real one, of the kernel's."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.conversation import stalled_fetch
from tests.e2e.node_process import BIN, PATIENCE_SECONDS, NodeProcess, wait_until

FRAME = "\x1b[H"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Top:
    """The program on a terminal of 30 lines of 200 columns."""

    def __init__(self, config: Path, *options: str) -> None:
        self._master, self._slave = pty.openpty()
        self.written = ""
        self.former = termios.tcgetattr(self._slave)
        self.resize(30, 200)
        # setsid makes it the program's controlling terminal: the kernel tells it of new sizes.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", BIN / "gitaly", "top", config, "--interval", "0.25", *options],
            stdin=self._slave,
            stdout=self._slave,
            stderr=subprocess.PIPE,
        )

    def resize(self, lines: int, columns: int) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def frame(self) -> list[str]:
        """The last whole picture."""
        frames = self.written.split(FRAME)
        return CONTROL.sub("", frames[-2]).split("\r\n") if len(frames) > 2 else []

    def until(self, text: str) -> list[str]:
        """The first picture from now on that holds a text."""
        end = time.monotonic() + PATIENCE_SECONDS
        self.written = FRAME + FRAME
        while not any(text in line for line in self.frame()):
            assert time.monotonic() < end, (text, self.frame())
            self._read()
        return self.frame()

    def _read(self) -> None:
        if select.select([self._master], [], [], 0.1)[0]:
            with suppress(OSError):  # nobody has the other end any more
                self.written += os.read(self._master, 65536).decode()

    def ended(self) -> int:
        """Its exit code; the terminal must be as it was."""

        def is_over() -> bool:
            self._read()
            return self.process.poll() is not None

        wait_until(is_over, "the program to end")
        while select.select([self._master], [], [], 0)[0]:
            self._read()
        assert self.written.rstrip().endswith("\x1b[?1049l")  # back to the screen before
        assert "\x1b[?25h" in self.written  # and the cursor
        assert termios.tcgetattr(self._slave) == self.former
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path_factory.mktemp("n"))
    node.start()
    yield node
    node.stop()


@pytest.fixture
def top(running: NodeProcess) -> Iterator[Top]:
    top = Top(running.directory / "config.toml")
    yield top
    top.close()


def test_calls_appear_and_go_while_somebody_watches(
    running: NodeProcess, top: Top, big: Path, name: str
) -> None:
    make_bare(running, name, source=big)
    top.until("calls 0")
    with stalled_fetch(Way(node=running, repository=name)):
        lines = top.until(f"default/{name}")
        row = next(line for line in lines if f"default/{name}" in line)
        assert "SSHUploadPackWithSidechannel [git upload-pack]" in row
        assert lines[-1].startswith("sort by: t time")
        assert len(lines) == 30
    top.until("calls 0")


def test_a_key_sorts_and_q_ends_it_and_leaves_the_terminal_as_it_was(top: Top) -> None:
    assert "TIME*" in "".join(top.until("REPOSITORY"))
    top.type("m")
    top.until("MEMORY*")
    top.type("r")
    top.until("REPOSITORY*")
    top.type("\x1b[A")  # an arrow means nothing
    top.type("zZ")
    top.until("REPOSITORY*")
    top.type("q")
    assert top.ended() == 0


@pytest.mark.parametrize("key", ["\x03", "\x1b"])
def test_control_c_and_escape_end_it_too(top: Top, key: str) -> None:
    top.until("calls 0")
    top.type(key)
    assert top.ended() == 0


def test_a_smaller_window_gets_a_smaller_picture_at_once(top: Top) -> None:
    top.until("calls 0")
    top.resize(8, 40)
    wait_until(lambda: len(top.until("gitaly")) == 8, "a picture of eight lines")
    assert max(map(len, top.frame())) < 40
    top.resize(50, 250)
    wait_until(lambda: len(top.until("gitaly")) == 50, "a picture of fifty lines")


def test_an_end_from_outside_leaves_the_terminal_as_it_was(top: Top) -> None:
    top.until("calls 0")
    top.process.send_signal(signal.SIGTERM)
    assert top.ended() == 0


def test_a_node_that_ends_and_comes_back_is_followed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    node = NodeProcess(tmp_path_factory.mktemp("n"))
    node.start()
    top = Top(node.directory / "config.toml")
    try:
        top.until(f"process {node.pid}")
        node.stop()
        top.until("no node of this configuration runs")
        node.start()
        top.until(f"process {node.pid}")
        os.kill(node.pid, signal.SIGSTOP)
        top.type("q")  # the keys do not wait for a node that does not answer
        assert top.ended() == 0
        os.kill(node.pid, signal.SIGCONT)
    finally:
        top.close()
        node.stop()


def test_a_terminal_that_is_gone_ends_it(top: Top) -> None:
    top.until("calls 0")
    os.kill(top.process.pid, signal.SIGHUP)  # as the kernel does
    assert top.process.wait(PATIENCE_SECONDS) == -signal.SIGHUP


def test_a_reader_that_has_seen_enough_is_no_error(running: NodeProcess) -> None:
    config = running.directory / "config.toml"
    done = subprocess.run(
        ["sh", "-c", f"{BIN}/gitaly top {config} | true"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
