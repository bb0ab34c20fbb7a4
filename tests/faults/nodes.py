"""A whole node in this process, with everything below one directory."""

import asyncio
import io
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from gitaly.config import load_text
from gitaly.node import Node, running_node
from gitaly.observe.log import make_logger
from gitaly.transport.connections import Connections
from tests.transport.wires import certificate, until

HEALTH = "/grpc.health.v1.Health/Check"
MIB = 1024 * 1024


@dataclass
class Served:
    """A node that serves on TCP, TLS and a unix socket."""

    node: Node
    directory: Path
    log: io.BytesIO

    @property
    def connections(self) -> Connections:
        return self.node.serving.connections

    def address(self, kind: str) -> str:
        """As the peer program wants it."""
        if kind == "unix":
            return f"unix:{self.directory}/node.sock"
        return f"{kind}:127.0.0.1:{self.node.port(kind)}"

    def connect(self, kind: str = "tcp") -> socket.socket:
        """A connection on which nothing was said, not even for TLS."""
        if kind == "unix":
            connected = socket.socket(socket.AF_UNIX)
            connected.connect(str(self.directory / "node.sock"))
        else:
            connected = socket.create_connection(("127.0.0.1", self.node.port(kind)))
        connected.settimeout(20)
        return connected

    async def is_healthy(self) -> bool:
        return await asyncio.to_thread(ask_health, f"127.0.0.1:{self.node.port('tcp')}")

    async def quiet(self) -> None:
        """No connection is left."""
        await until(lambda: len(self.connections) == 0)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def ask_health(target: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        ask: Any = channel.unary_unary(HEALTH)  # bytes in, bytes out: untyped by its stubs
        answer = ask(b"", timeout=20)
    status: bool = health_pb2.HealthCheckResponse.FromString(answer).status == 1
    return status


def config_text(directory: Path, extra: str = "") -> str:
    """TLS too; ports are the system's choice."""
    cert, key = certificate(directory)
    (directory / "storage").mkdir(exist_ok=True)
    (directory / "run").mkdir(exist_ok=True)
    return f"""
        listen_addr = "127.0.0.1:0"
        tls_listen_addr = "127.0.0.1:0"
        socket_path = "{directory}/node.sock"
        runtime_dir = "{directory}/run"
        {extra}
        [tls]
        certificate_path = "{cert}"
        key_path = "{key}"
        [[storage]]
        name = "default"
        path = "{directory}/storage"
        """


@asynccontextmanager
async def a_node(directory: Path, *, extra: str = "") -> AsyncIterator[Served]:
    """A node for the length of the block. `extra`: lines of its configuration, for the top."""
    log = io.BytesIO()
    config = load_text(config_text(directory, extra))
    async with running_node(config, make_logger(log, format="json")) as node:
        yield Served(node, directory, log)


def make_repository(directory: Path, name: str = "a.git", *, size: int = 100_000) -> str:
    """A bare repository with one commit and a file of random bytes; the id of the commit."""
    path = directory / "storage" / name
    path.parent.mkdir(exist_ok=True)
    work = directory / "work"
    run_git("init", "--quiet", "--initial-branch=main", str(work))
    (work / "file").write_bytes(os.urandom(size))
    run_git("-C", str(work), "add", "file")
    run_git("-C", str(work), "commit", "--quiet", "--message=one")
    run_git("clone", "--quiet", "--bare", str(work), str(path))
    return run_git("-C", str(work), "rev-parse", "HEAD")


def run_git(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What git prints, stripped."""
    mine = {
        "GIT_AUTHOR_NAME": "Jane",
        "GIT_AUTHOR_EMAIL": "jane@example.com",
        "GIT_COMMITTER_NAME": "Jane",
        "GIT_COMMITTER_EMAIL": "jane@example.com",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": "/nonexistent",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        ["git", *arguments],
        env=mine | dict(environment or {}),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return done.stdout.decode().strip()
