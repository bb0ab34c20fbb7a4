"""Small calls: how long one takes, and how many a second."""

import multiprocessing
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.peer import Caller, call_times, headers_of
from bench.processes import Measured, empty_handler, node
from bench.report import Row
from gitaly._pb.ref_pb2 import FindDefaultBranchNameRequest, RefExistsRequest
from gitaly._pb.repository_pb2 import RepositoryExistsRequest
from gitaly._pb.shared_pb2 import Repository

CALLS = 4000
CONNECTIONS = 4
IN_FLIGHT = 16
SECONDS = 4
EXISTS = "/gitaly.RepositoryService/RepositoryExists"
REF_EXISTS = "/gitaly.RefService/RefExists"
DEFAULT_BRANCH = "/gitaly.RefService/FindDefaultBranchName"


def spawn_seconds(count: int = 300) -> float:
    """The median of one bare `git --version`."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        subprocess.run(["git", "--version"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return sorted(times)[count // 2]


def median(port: int, path: str, message: bytes) -> float:
    times = call_times(port, path, message, CALLS)
    return times[len(times) // 2]


def rate(port: int, path: str, message: bytes) -> float:
    """Calls a second with IN_FLIGHT callers on CONNECTIONS connections, in their own processes."""
    with multiprocessing.get_context("spawn").Pool(CONNECTIONS) as pool:
        each = IN_FLIGHT // CONNECTIONS
        counts = pool.starmap(_hammer, [(port, path, message, each)] * CONNECTIONS)
    return sum(counts)


def _hammer(port: int, path: str, message: bytes, in_flight: int) -> float:
    """Calls a second over one connection with some calls always in flight."""
    caller, headers = Caller(port), headers_of(path)
    caller.call(headers, message)
    return caller.hammer(headers, message, in_flight, SECONDS)


def measure(storage: Path, relative_path: str) -> Iterator[Row]:
    repository = Repository(storage_name="default", relative_path=relative_path)
    exists = RepositoryExistsRequest(repository=repository).SerializeToString()
    ref = RefExistsRequest(repository=repository, ref=b"refs/heads/main").SerializeToString()
    branch = FindDefaultBranchNameRequest(repository=repository).SerializeToString()
    with empty_handler() as empty, node(storage) as measured:
        floor = median(empty.port, EXISTS, exists)
        ours = median(measured.port, EXISTS, exists)
        yield Row("RepositoryExists, p50", ours * 1e3, "ms", floor * 1e3, 1.5, "empty handler")
        floor_rate = rate(empty.port, EXISTS, exists)
        our_rate = rate(measured.port, EXISTS, exists)
        yield Row(
            f"RepositoryExists, {IN_FLIGHT} in flight",
            our_rate,
            "/s",
            floor_rate,
            0.6,
            "empty handler",
            higher_is_better=True,
        )
        spawn = spawn_seconds()
        for name, path, message in (
            ("RefExists, p50", REF_EXISTS, ref),
            ("FindDefaultBranchName, p50", DEFAULT_BRANCH, branch),
        ):
            yield Row(
                name,
                median(measured.port, path, message) * 1e3,
                "ms",
                spawn * 1e3,
                0.5,
                "git --version",
            )
        yield from _idle(measured)


def _idle(measured: Measured) -> Iterator[Row]:
    yield Row("memory after these calls", measured.memory_bytes() / 1e6, "MB", None, 120, "")
