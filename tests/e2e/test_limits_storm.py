"""Thousands of calls that end in every way: nothing of them is left.

The whole is `GITALY_STORM_CALLS=10000`; the suite runs a part of it.
"""

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from gitaly._pb.ref_pb2 import FindDefaultBranchNameRequest, ListRefsRequest, RefExistsRequest
from gitaly._pb.repository_pb2 import RepositoryExistsRequest, RepositorySizeRequest
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.smarthttp_pb2 import InfoRefsRequest
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest, SSHUploadArchiveRequest
from tests.cgroups.support import left_below, why_no_groups
from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare, make_work
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import NodeProcess, terminate_group, wait_until

CALLS = int(os.environ.get("GITALY_STORM_CALLS", "2500"))
MIXED_CALLS = CALLS // 2  # most of them run a git
CLIENTS = 20  # of git, which are killed
REPOSITORIES = ("a.git", "b.git")
IN_FLIGHT = 60
GROUPS = """
[cgroups]
hierarchy_root = "{root}"
[cgroups.repositories]
count = 2
memory_bytes = 1073741824
"""


def requests_of(repository: Repository) -> list[tuple[str, Message]]:
    return [
        ("RepositoryService/RepositoryExists", RepositoryExistsRequest(repository=repository)),
        ("RepositoryService/RepositorySize", RepositorySizeRequest(repository=repository)),
        ("RefService/RefExists", RefExistsRequest(repository=repository, ref=b"refs/heads/main")),
        ("RefService/FindDefaultBranchName", FindDefaultBranchNameRequest(repository=repository)),
        ("RefService/ListRefs", ListRefsRequest(repository=repository, patterns=[b"refs/"])),
        ("SmartHTTPService/InfoRefsUploadPack", InfoRefsRequest(repository=repository)),
        ("SSHService/SSHUploadArchive", SSHUploadArchiveRequest(repository=repository)),
        ("SSHService/SSHReceivePack", SSHReceivePackRequest(repository=repository, gl_id="key-1")),
    ]


METHODS = [f"/gitaly.{path}" for path, _ in requests_of(Repository())]
TABLE = '[[concurrency]]\nrpc = "{}"\nmax_concurrency = 1\nmax_queue_size = 1\n'


class Storm:
    """A client that keeps many calls in flight on one connection, and what became of them."""

    def __init__(self, way: Way, seed: int) -> None:
        self.dice = random.Random(seed)
        self.codes: dict[str, int] = {}
        self._channel = grpc.insecure_channel(way.address.removeprefix("tcp://"))
        self._free = threading.Semaphore(IN_FLIGHT)
        self._running: list[Any] = []  # futures: untyped by their stubs

    def call(self, path: str, request: Message, *, timeout: float | None) -> None:
        """Begin a call; it counts as ended when its last message has come."""
        self._free.acquire()
        ask: Any = self._channel.stream_stream(path)  # bytes in, bytes out
        future = ask(iter([request.SerializeToString()]), timeout=timeout)
        self._running.append(future)
        threading.Thread(target=self._drain, args=(future,)).start()

    def _drain(self, future: Any) -> None:
        try:
            for _ in future:
                pass
        except grpc.RpcError:
            pass
        finally:
            self._running.remove(future)
            code = future.code().name
            self.codes[code] = self.codes.get(code, 0) + 1
            self._free.release()

    def cancel_one(self) -> None:
        running = list(self._running)
        if running:
            self.dice.choice(running).cancel()

    def finish(self) -> None:
        for _ in range(IN_FLIGHT):
            self._free.acquire()
        self._channel.close()


class Stage:
    """A node whose calls are all limited, and whose gits are in groups where there are any."""

    def __init__(self, directory: Path, work: Path) -> None:
        self.page = MetricsPage()
        self.root = f"gitaly-storm-{os.getpid()}"
        extra = "".join(map(TABLE.format, METHODS))
        if not why_no_groups():
            extra += GROUPS.format(root=self.root)
        self.node = NodeProcess(directory, extra=extra, top=self.page.configuration)
        self.node.start()
        for name in REPOSITORIES:
            make_bare(self.node, name, source=work)
        self.way = Way(node=self.node, repository="a.git")
        self.way.git("ls-remote", self.way.url)

    def settled(self) -> None:
        """No place is held, no key known, no call running."""
        wait_until(lambda: self.page.sum("gitaly_limit_keys") == 0, "all keys to be forgotten")
        for name in ("in_progress", "queued"):
            assert self.page.sum(f"gitaly_concurrency_limiting_{name}") == 0


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("n"), make_work(tmp_path / "work"))
    yield made
    made.node.stop()
    left = [Path(path) for path in left_below(made.root)]
    assert all(path.name == made.root for path in left), left
    for path in left:
        path.rmdir()


def test_thousands_of_cancelled_calls_leave_no_place_taken(stage: Stage) -> None:
    storm = Storm(stage.way, seed=1)
    request = RefExistsRequest(repository=Repository(storage_name="default", relative_path="a.git"))
    with stage.node.quiet_afterwards():
        for _ in range(CALLS):
            storm.call("/gitaly.RefService/RefExists", request, timeout=None)
            storm.cancel_one()
        storm.finish()
        stage.settled()
    assert sum(storm.codes.values()) == CALLS
    assert storm.codes["CANCELLED"] > CALLS / 10


def test_mixed_calls_with_cancels_and_kills_leave_nothing(stage: Stage) -> None:
    storm, dice = Storm(stage.way, seed=2), random.Random(3)
    clients: list[subprocess.Popen[bytes]] = []
    every = MIXED_CALLS // CLIENTS
    with stage.node.quiet_afterwards():
        for number in range(MIXED_CALLS):
            name = dice.choice(REPOSITORIES)
            repository = Repository(storage_name="default", relative_path=name)
            path, request = dice.choice(requests_of(repository))
            storm.call(f"/gitaly.{path}", request, timeout=dice.choice((None, 5, 0.05)))
            if dice.random() < 0.3:
                storm.cancel_one()
            if number % every == 0:  # a client of git, which dies
                clients.append(stage.way.start("ls-remote", stage.way.url))
                for pid in stage.node.git_running():
                    kill(pid)
            if number % (4 * every) == 2 * every:
                for pid in stage.node.spawners()[:1]:
                    kill(pid)
            if number % every == every // 2 and clients:
                terminate_group(clients[-1])
        storm.finish()
        for client in clients:
            client.communicate(timeout=30)
        stage.settled()
    assert sum(storm.codes.values()) == MIXED_CALLS
    for code in ("OK", "CANCELLED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"):
        assert storm.codes[code] > 5, storm.codes
    assert stage.node.git_running() == []
    assert why_no_groups() or any("/repos-" in path for path in left_below(stage.root))


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.kill(pid, signal.SIGKILL)
