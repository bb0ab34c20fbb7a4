"""`gitaly demo` in a terminal and without one."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.test_serve import GITALY, gitaly
from tests.e2e.node_process import PATIENCE_SECONDS, wait_until

ANYWHERE = {"GITALY_DEMO_ADDRESS": "127.0.0.1:0", "GITALY_DEMO_METRICS_ADDRESS": "127.0.0.1:0"}


@contextmanager
def demo(
    directory: Path, *before: str, stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """One that serves; it is killed if it does not end in the block. `before`: who starts it."""
    started = subprocess.Popen(
        [*before, GITALY, "demo", directory],
        env=os.environ | ANYWHERE,
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: says(directory, "Started Gitaly"), "the demo to start")
        yield started
    finally:
        started.kill()
        started.wait()


def says(directory: Path, text: str) -> bool:
    log = directory / "gitaly.log"
    return log.exists() and text in log.read_text()


def reload(node: subprocess.Popen[bytes], directory: Path) -> None:
    """Edit its file, and send it the signal."""
    config = directory / "config.toml"
    config.write_text('graceful_restart_timeout = "5s"\n' + config.read_text())
    node.send_signal(signal.SIGHUP)
    changed = "changed=graceful_restart_timeout"
    wait_until(lambda: says(directory, changed), "it to read its file again")


def test_a_demo_that_cannot_listen_says_so_on_the_terminal(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        env = {**os.environ, **ANYWHERE, "GITALY_DEMO_ADDRESS": address}
        done = gitaly("demo", tmp_path / "a b", env=env)
    assert done.returncode == 1
    assert done.stderr.startswith(f"gitaly demo: listen on {address}: Address already in use\n")
    assert done.stdout == ""


def test_a_demo_reads_its_file_again_and_ends_with_its_terminal(tmp_path: Path) -> None:
    master, slave = os.openpty()
    with demo(tmp_path, "setsid", "--ctty", stdin=slave) as node:
        os.close(slave)
        reload(node, tmp_path)
        assert node.poll() is None
        os.close(master)
        assert node.wait(PATIENCE_SECONDS) == 0


def test_a_demo_without_a_terminal_does_not_mind_the_signal(tmp_path: Path) -> None:
    with demo(tmp_path, "setsid") as node:
        reload(node, tmp_path)
        node.terminate()
        assert node.wait(PATIENCE_SECONDS) == 0


def test_a_demo_that_nohup_has_started_outlives_its_terminal(tmp_path: Path) -> None:
    master, slave = os.openpty()
    with demo(tmp_path, "setsid", "--ctty", "nohup", stdin=slave) as node:
        os.close(slave)
        os.close(master)
        reload(node, tmp_path)
        node.terminate()
        assert node.wait(PATIENCE_SECONDS) == 0
