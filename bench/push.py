"""A push of one commit with real git, through the node and to a local path.

GitLab's SSH daemon is a warm process with a connection to its node. So is the proxy here: it
speaks git's own protocol with git, and SSHReceivePack with the node. `git-remote-gitaly` does the
same for one push and is measured beside it, start of Python included.
"""

import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Self

import grpc

from bench.processes import free_port, node
from bench.report import Row
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import SSHReceivePackRequest, SSHReceivePackResponse

PUSHES = 25
WARM = 3
# A node's git syncs what it writes; a local push that does not would be another thing.
DURABLE = [
    ("core.fsync", "objects,derived-metadata,reference"),
    ("core.fsyncMethod", "fsync"),
]


def measure() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-push-") as directory:
        storage, work = Path(directory, "storage"), Path(directory, "work")
        for name in ("node.git", "helper.git", "local.git"):
            _git(Path(directory), "init", "-q", "--bare", "-b", "main", str(storage / name))
        for key, value in DURABLE:
            _git(storage / "local.git", "config", key, value)
        _git(Path(directory), "init", "-q", "-b", "main", str(work))
        with node(storage) as measured, Proxy(measured.port) as proxy:
            urls = {
                "local": str(storage / "local.git"),
                "node": f"git://127.0.0.1:{proxy.port}/node.git",
                "helper": f"gitaly://127.0.0.1:{measured.port}/default/helper.git",
            }
            times: dict[str, list[float]] = {name: [] for name in urls}
            for number in range(PUSHES):
                _git(work, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
                for name, url in urls.items():
                    start = time.perf_counter()
                    _git(work, "push", "-q", url, "HEAD:main")
                    times[name].append(time.perf_counter() - start)
        found = {name: median(values[WARM:]) * 1e3 for name, values in times.items()}
        yield Row("push of one commit, p50", found["node"], "ms", found["local"], 3, "local push")
        yield Row("push by git-remote-gitaly, p50", found["helper"], "ms", None, 249, "")


class Proxy:
    """Takes `git push git://…` and asks the node."""

    def __init__(self, node_port: int) -> None:
        self.port = free_port()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._channel = grpc.insecure_channel(f"127.0.0.1:{node_port}")
        ask: Any = self._channel.stream_stream(
            "/gitaly.SSHService/SSHReceivePack",
            request_serializer=SSHReceivePackRequest.SerializeToString,
            response_deserializer=SSHReceivePackResponse.FromString,
        )
        self._ask = ask

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self._channel.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Git writes in pieces and without TCP_NODELAY: an acknowledgement that is delayed by the
        # kernel would cost 40 ms in each push, and be ours, not the node's.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        size = int(accepted.recv(4), 16)
        command = accepted.recv(size - 4, socket.MSG_WAITALL).decode()
        path = command.split("\0")[0].split(" ", 1)[1].strip("/")
        requests: queue.SimpleQueue[SSHReceivePackRequest | None] = queue.SimpleQueue()
        repository = Repository(storage_name="default", relative_path=path)
        requests.put(SSHReceivePackRequest(repository=repository, gl_id="user-1"))
        answers = self._ask(iter(requests.get, None))
        threading.Thread(target=self._read, args=(accepted, requests), daemon=True).start()
        for answer in answers:
            accepted.sendall(answer.stdout)
        accepted.shutdown(socket.SHUT_RDWR)
        accepted.close()

    @staticmethod
    def _read(
        accepted: socket.socket, requests: "queue.SimpleQueue[SSHReceivePackRequest | None]"
    ) -> None:
        try:
            while data := accepted.recv(65536):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                requests.put(SSHReceivePackRequest(stdin=data))
        except OSError:
            pass
        requests.put(None)


def _git(where: Path, *arguments: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    identity = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "A"}
    environment = {**os.environ, **identity, "GIT_COMMITTER_EMAIL": "a@b", "PATH": path}
    subprocess.run(
        [shutil.which("git") or "git", *arguments], cwd=where, env=environment, check=True
    )
