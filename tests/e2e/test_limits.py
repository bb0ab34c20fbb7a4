"""Queues, as users of git and operators meet them."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gitaly.config import load_text
from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare, make_work
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import BIN, NodeProcess, terminate_group, wait_until

LIMIT = "max_concurrency = 2\nmax_queue_size = 3\n"
LIMITED = (
    "/gitaly.SSHService/SSHUploadPackWithSidechannel",
    "/gitaly.SSHService/SSHReceivePack",
    "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel",
)
FETCH = {"grpc_method": "SSHUploadPackWithSidechannel"}


class Limited:
    """A node with limits, a repository, and clients who hold their connection open."""

    def __init__(self, directory: Path, work: Path) -> None:
        self.page = MetricsPage()
        tables = "".join(f'[[concurrency]]\nrpc = "{rpc}"\n{LIMIT}' for rpc in LIMITED)
        self.node = NodeProcess(directory, extra=tables, top=self.page.configuration)
        self.node.start()
        make_bare(self.node, "demo.git", source=work)
        self.way = Way(node=self.node, program="ssh", version=0)
        self.held: list[subprocess.Popen[bytes]] = []

    def hold(self) -> subprocess.Popen[bytes]:
        """A fetch by gitaly-ssh that says nothing; it leads a process group."""
        process = subprocess.Popen(
            ["gitaly-ssh", "upload-pack", "gitaly", "git-upload-pack 'x'"],
            env=self.way.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self.held.append(process)
        return process

    def gauges(self) -> tuple[float, ...]:
        """How many run, and how many wait."""
        page, prefix = self.page.reading(), "gitaly_concurrency_limiting"
        return tuple(page.sum(f"{prefix}_{name}", **FETCH) for name in ("in_progress", "queued"))

    def until(self, running: int, waiting: int) -> None:
        wait_until(
            lambda: self.gauges() == (running, waiting),
            f"{running} to run and {waiting} to wait",
        )

    def hold_many(self, count: int) -> list[subprocess.Popen[bytes]]:
        """One after the other, so that it is known who is the newest."""
        found = []
        for number in range(1, count + 1):
            found.append(self.hold())
            self.until(min(number, 2), max(0, number - 2))
        return found

    def stop(self) -> None:
        for process in self.held:
            if process.poll() is None:
                terminate_group(process)
            process.communicate()
        self.until(0, 0)
        self.node.stop()


@pytest.fixture
def limited(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Limited]:
    made = Limited(tmp_path_factory.mktemp("n"), make_work(tmp_path / "work"))
    yield made
    made.stop()


def is_served(process: subprocess.Popen[bytes]) -> bool:
    """Whether the advertisement of references has come."""
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0)[0])


def test_of_eight_clients_two_run_three_wait_and_three_are_told_why(limited: Limited) -> None:
    clients = limited.hold_many(5)
    for _ in range(3):
        refused = limited.hold()
        assert refused.wait(20) == 1
        assert refused.stderr is not None
        said = refused.stderr.read().decode()
        assert "rpc error: code = ResourceExhausted desc = maximum queue size reached" in said
    assert len(limited.node.children()) == 2
    assert limited.page.sum("gitaly_requests_dropped_total", reason="max_size", **FETCH) == 3
    wait_until(lambda: all(map(is_served, clients[:2])), "the first two to be served")
    assert not any(map(is_served, clients[2:]))


def test_the_newest_client_is_served_first(limited: Limited) -> None:
    first, second, third, fourth, fifth = limited.hold_many(5)
    for leaving, next_one, waiting in ((first, fifth, 2), (fifth, fourth, 1), (second, third, 0)):
        terminate_group(leaving)
        limited.until(2, waiting)
        wait_until(partial(is_served, next_one), "the newest to be served")


@pytest.mark.parametrize("program", ["ssh", "helper"])
def test_the_user_of_git_reads_why(limited: Limited, program: str) -> None:
    limited.hold_many(5)
    way = Way(node=limited.node, program=program)
    answer = way.try_git("ls-remote", way.url)
    assert answer.code == 128
    assert "maximum queue size reached" in answer.stderr


def test_others_are_not_held_up(limited: Limited, tmp_path: Path) -> None:
    make_bare(limited.node, "other.git", source=limited.node.storage / "demo.git")
    limited.hold_many(5)
    Way(node=limited.node, program="ssh", repository="other.git").clone(tmp_path / "copy")


def test_a_clone_that_waited_is_complete(limited: Limited, tmp_path: Path) -> None:
    clients = limited.hold_many(2)
    clone = limited.way.start("clone", "--quiet", limited.way.url, str(tmp_path / "copy"))
    limited.until(2, 1)
    terminate_group(clients[0])
    assert clone.wait(20) == 0
    clone.communicate()
    assert (tmp_path / "copy" / "file").read_text() == "three\n"


def test_git_that_is_killed_at_the_node_gives_its_place_back(limited: Limited) -> None:
    clients = limited.hold_many(4)
    for pid in limited.node.children():
        os.killpg(pid, signal.SIGKILL)
    limited.until(2, 0)
    wait_until(lambda: all(map(is_served, clients[2:])), "the others to be served")


def suggestion(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "gitaly"), "limits", "suggest", str(directory / "config.toml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_limits_are_suggested_from_what_the_node_has_counted(limited: Limited) -> None:
    for _ in range(25):
        Way(node=limited.node).git("ls-remote", Way(node=limited.node).url)
    done = suggestion(limited.node.directory)
    assert (done.returncode, done.stderr) == (0, "")
    found = {table.rpc: table for table in load_text(done.stdout).concurrency}
    assert set(found) >= set(LIMITED)
    assert found[LIMITED[0]].max_queue_size == 3
    assert "one repository wanted 1 at once" in done.stdout


def test_a_node_that_does_not_run_cannot_be_asked(tmp_path: Path) -> None:
    page = MetricsPage()
    (tmp_path / "config.toml").write_text(page.configuration)
    done = suggestion(tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("Connection refused: does the node run?\n")
    assert done.stdout == ""
