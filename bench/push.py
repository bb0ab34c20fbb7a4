"""A push of one commit with real git, through the node and to a local path.

GitLab's SSH daemon is a warm process with a connection to its node. So is the proxy here: it
speaks git's own protocol with git, and SSHReceivePack with the node. `git-remote-gitaly` does the
same for one push and is measured beside it, start of Python included.

The limits of pushes that GitLab decides about come from the original on a machine like this one:
249 ms, of which 209 ms of CPU, for one commit, and 27 ms for each further reference.
"""

import os
import queue
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, Self

import grpc

from bench.processes import Measured, free_port, gitlab, node
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


MANY = 1000
MANY_ROUNDS = 7


def measure() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-push-") as directory:
        storage, work = Path(directory, "storage"), Path(directory, "work")
        _git(Path(directory), "init", "-q", "-b", "main", str(work))
        with _servers(storage) as (plain, asking, proxy, asking_proxy):
            urls = {
                "local": str(storage / "local.git"),
                "node": f"git://127.0.0.1:{proxy.port}/node.git",
                "helper": f"gitaly://127.0.0.1:{plain.port}/default/helper.git",
                "gitlab": f"git://127.0.0.1:{asking_proxy.port}/gitlab.git",
                "hooks": f"git://127.0.0.1:{asking_proxy.port}/hooks.git",
            }
            for name in urls:
                _target(storage / f"{name}.git")
            _custom_hooks(storage / "hooks.git")
            times, cpu = _one_by_one(work, urls, asking)
            found = {name: median(values[WARM:]) * 1e3 for name, values in times.items()}
            local = found["local"]
            yield Row("push of one commit, p50", found["node"], "ms", local, 3, "local push")
            yield Row("push by git-remote-gitaly, p50", found["helper"], "ms", None, 249, "")
            yield Row("… decided by GitLab, p50", found["gitlab"], "ms", local, 4, "local push")
            yield Row("… and three custom hooks, p50", found["hooks"], "ms", local, 4, "local push")
            yield Row("… CPU of the node", cpu, "ms", None, 0.45 * 209, "")
            _make_many(work)
            many = [_many(work, storage, asking, asking_proxy) for _ in range(MANY_ROUNDS)]
            for index, name in enumerate(("time", "CPU")):
                extra = median(pair[index] for pair in many)
                yield Row(f"{name} for each of 1,000 refs beyond local", extra, "ms", None, 0.3, "")


@contextmanager
def _servers(storage: Path) -> "Iterator[tuple[Measured, Measured, Proxy, Proxy]]":
    """A standalone node and one of a GitLab, and the ways to them."""
    with gitlab() as url:
        asks = f'[gitlab]\nurl = "{url}"\nsecret = "s"\n'
        storage.mkdir()
        with (
            node(storage) as plain,
            node(storage, asks) as asking,
            Proxy(plain.port) as proxy,
            Proxy(asking.port) as asking_proxy,
        ):
            yield plain, asking, proxy, asking_proxy


def _target(path: Path) -> None:
    _git(path.parent, "init", "-q", "--bare", "-b", "main", str(path))
    if path.name in ("local.git", "local-many.git"):
        for key, value in DURABLE:
            _git(path, "config", key, value)


def _custom_hooks(path: Path) -> None:
    (path / "custom_hooks").mkdir()
    for name in ("pre-receive", "update", "post-receive"):
        hook = path / "custom_hooks" / name
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o755)


def _one_by_one(
    work: Path, urls: Mapping[str, str], asking: Measured
) -> tuple[Mapping[str, list[float]], float]:
    """Seconds of each push, and the median of the node's CPU milliseconds for one with hooks."""
    times: dict[str, list[float]] = {name: [] for name in urls}
    cpu = []
    for number in range(PUSHES):
        _git(work, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
        for name, url in urls.items():
            before = asking.cpu_seconds()
            start = time.perf_counter()
            _git(work, "push", "-q", url, "HEAD:main")
            times[name].append(time.perf_counter() - start)
            if name == "hooks":
                cpu.append(asking.cpu_seconds() - before)
    return times, sum(cpu[WARM:]) / len(cpu[WARM:]) * 1e3  # in ticks of 10 ms: the mean tells more


def _make_many(work: Path) -> None:
    lines = "".join(f"update refs/many/{n} HEAD\n" for n in range(MANY))
    subprocess.run(["git", "update-ref", "--stdin"], input=lines.encode(), cwd=work, check=True)


def _many(work: Path, storage: Path, asking: Measured, proxy: "Proxy") -> tuple[float, float]:
    """Milliseconds, of time and of CPU, for each reference more than a local push of as many."""
    found = []
    for url in (str(storage / "local-many.git"), f"git://127.0.0.1:{proxy.port}/many.git"):
        path = storage / url.rpartition("/")[2]
        shutil.rmtree(path, ignore_errors=True)
        _target(path)
        _git(work, "push", "-q", str(path), "HEAD:main")
        os.sync()  # what others wrote is not to be paid for by the next fsync
        cpu, start = _cpu_of_children() + asking.cpu_seconds(), time.perf_counter()
        _git(work, "push", "-q", url, "refs/many/*:refs/heads/many/*")
        seconds = time.perf_counter() - start
        found.append((seconds, _cpu_of_children() + asking.cpu_seconds() - cpu))
    (local, local_cpu), (node, node_cpu) = found
    return (node - local) / MANY * 1e3, (node_cpu - local_cpu) / MANY * 1e3


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
        repository = Repository(
            storage_name="default", relative_path=path, gl_repository="project-1"
        )
        requests.put(SSHReceivePackRequest(repository=repository, gl_id="user-1"))
        answers = self._ask(iter(requests.get, None))
        threading.Thread(target=self._read, args=(accepted, requests), daemon=True).start()
        with suppress(grpc.RpcError, BrokenPipeError):  # git may have all it wants to hear
            for answer in answers:
                accepted.sendall(answer.stdout)
        with suppress(OSError):
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
