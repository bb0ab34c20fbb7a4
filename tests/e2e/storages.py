"""A node with four storages, three of which break while it runs."""

import os
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from gitaly._pb.repository_pb2 import CreateRepositoryRequest
from gitaly._pb.server_pb2 import ReadinessCheckRequest, ReadinessCheckResponse
from gitaly._pb.shared_pb2 import Repository
from tests.e2e.clients import ENVIRONMENT, Answer, finished, run_git
from tests.e2e.metrics_page import MetricsPage
from tests.e2e.node_process import BIN, NodeProcess, below, wait_until
from tests.storage.mounts import make_read_only, make_writable, small_disk

NAMES: Final = ("full", "readonly", "gone")  # beside "default", which stays well
UNHEALTHY: Final = "a storage is not healthy"
HEALTHY: Final = "a storage is healthy again"
PUSHED_BYTES: Final = 2 << 20


@dataclass
class Storages:
    """Mounts, the node, and what an operator and his users see of them."""

    root: Path
    work: Path
    page: MetricsPage = field(default_factory=MetricsPage)
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        tables = ""
        for name in NAMES:
            path = self.path(name)
            path.mkdir(parents=True)
            if name != "gone":
                self.stack.enter_context(small_disk(path, "size=48m"))
            tables += f'[[storage]]\nname = "{name}"\npath = "{path}"\n'
        self.node = NodeProcess(self.root, extra=tables, top=self.page.configuration)
        for name in NAMES:
            run_git("clone", "--quiet", "--bare", str(self.work), str(self.path(name) / "a.git"))

    def path(self, name: str) -> Path:
        return self.root / name

    def break_all(self) -> None:
        fill(self.path("full"))
        make_read_only(self.path("readonly"))
        os.rename(self.path("gone"), self.path("away"))

    def mend_all(self) -> None:
        (self.path("full") / "filling").unlink()
        make_writable(self.path("readonly"))
        os.rename(self.path("away"), self.path("gone"))

    def url(self, storage: str, repository: str = "a.git") -> str:
        return f"gitaly://127.0.0.1:{self.node.tcp}/{storage}/{repository}"

    def git(self, *arguments: str, cwd: Path | str = "/") -> Answer:
        process = subprocess.Popen(
            ["git", *arguments],
            cwd=cwd,
            env={**ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return finished(process)

    def check(self) -> Answer:
        """`gitaly check`, with the paths of this test shortened."""
        config = self.root / "config.toml"
        done = subprocess.run([BIN / "gitaly", "check", config], capture_output=True, text=True)
        return Answer(done.returncode, self.short(done.stdout), self.short(done.stderr))

    def short(self, text: str) -> str:
        return text.replace(str(self.root), "/srv")

    def call(self, path: str, request: Message) -> bytes | str:
        """The answer, or "CODE: text"."""
        with grpc.insecure_channel(f"127.0.0.1:{self.node.tcp}") as channel:
            ask: Any = channel.unary_unary(path)  # bytes in, bytes out: untyped by its stubs
            try:
                answer: bytes = ask(request.SerializeToString(), timeout=20)
            except grpc.RpcError as error:
                failed: Any = error  # a call, too
                return f"{failed.code().name}: {failed.details()}"
        return answer

    def create(self, storage: str) -> str:
        """What CreateRepository says; empty: it worked."""
        repository = Repository(storage_name=storage, relative_path="new.git")
        request = CreateRepositoryRequest(repository=repository)
        answer = self.call("/gitaly.RepositoryService/CreateRepository", request)
        return answer if isinstance(answer, str) else answer.decode()

    def readiness(self) -> dict[str, str]:
        answer = self.call("/gitaly.ServerService/ReadinessCheck", ReadinessCheckRequest())
        assert isinstance(answer, bytes)
        found = ReadinessCheckResponse.FromString(answer).failure_response
        return {failed.name: failed.error_message for failed in found.failed_checks}

    def health(self, service: str = "") -> str:
        answer = self.call(
            "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service=service)
        )
        assert isinstance(answer, bytes)
        status = health_pb2.HealthCheckResponse.FromString(answer).status
        name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
        return name

    def lines(self, *messages: str) -> list[dict[str, Any]]:
        """Those of the log that begin so, without time and pid."""
        found = self.node.lines()
        return [
            {key: value for key, value in line.items() if key not in ("time", "pid")}
            for line in found
            if line["msg"] in messages
        ]

    def wait_for(self, message: str, count: int) -> None:
        wait_until(lambda: len(self.lines(message)) == count, f"{count} times {message}")

    def leftovers(self, storage: str) -> list[str]:
        """What is in a storage and does not belong there."""
        usual = {".gitaly-metadata", "+gitaly", "a.git", "filling"}
        top = [path.name for path in self.path(storage).iterdir() if path.name not in usual]
        temporary = [str(path) for path in self.path(storage).glob("+gitaly/tmp/*")]
        objects = below(self.path(storage) / "a.git/objects")
        return top + temporary + [str(path) for path in objects if path.match("tmp_*")]


def fill(disk: Path) -> None:
    """To the last byte."""
    with open(disk / "filling", "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
