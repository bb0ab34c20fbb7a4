"""How soon health and a small read are answered while two clones and reads take all processors.

Praefect asks for health every second and waits one; it runs elsewhere, so the asking process is
given precedence, where we may. What it measures is the node, its git and the kernel's scheduler.
The original: p99 of 87 to 376 ms with two clones and two busy loops on two processors.
"""

import contextlib
import multiprocessing
import os
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.calls import DEFAULT_BRANCH, EXISTS
from bench.clone import clone_request
from bench.hostile import message_for
from bench.peer import Caller, Fetcher, headers_of
from bench.processes import TICKS, Measured, free_port, node
from bench.report import Row
from gitaly._pb.ref_pb2 import FindDefaultBranchNameRequest
from gitaly._pb.repository_pb2 import RepositoryExistsRequest
from gitaly._pb.shared_pb2 import Repository

CHECK = "/grpc.health.v1.Health/Check"
CLONES = 2
READS_IN_FLIGHT = 8
PAUSE_SECONDS = 0.01  # between questions: they shall not be the load
SECONDS = float(os.environ.get("BENCH_HEALTH_SECONDS", "20"))
LIMIT_MS = 100
LEAST_CLONE_BYTES = 1 << 20  # an answer that is an error is shorter


def measure(storage: Path, relative_path: str) -> Iterator[Row]:
    """Both times, with the load, and what the load was."""
    repository = Repository(storage_name="default", relative_path=relative_path)
    exists = RepositoryExistsRequest(repository=repository).SerializeToString()
    branch = FindDefaultBranchNameRequest(repository=repository).SerializeToString()
    request, message = clone_request(storage / relative_path), message_for(relative_path)
    metrics = free_port()
    with node(storage, top=f'prometheus_listen_addr = "127.0.0.1:{metrics}"') as measured:
        port = measured.port
        with contextlib.ExitStack() as stack:
            for _ in range(CLONES):
                stack.enter_context(_beside(_clone, port, message, request))
            stack.enter_context(_beside(_read, port, DEFAULT_BRANCH, branch))
            time.sleep(2)  # everything runs
            lag, shares = LoopLag.now(metrics), Shares.now(measured)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                times = pool.apply(_ask, (port, exists))
            print(f"health: {shares.until_now()}; loop lag {lag.until_now(metrics)}", flush=True)
    for name, found in times.items():
        found.sort()
        p50 = found[len(found) // 2] * 1e3
        text = f"{name} under load, p99 (p50 {p50:.1f} ms)"
        yield Row(text, found[int(len(found) * 0.99)] * 1e3, "ms", None, LIMIT_MS, "")


def _ask(port: int, exists: bytes) -> dict[str, list[float]]:
    """Seconds of each answer, by what was asked."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    caller = Caller(port)
    questions = {"Health/Check": (CHECK, b""), "RepositoryExists": (EXISTS, exists)}
    times: dict[str, list[float]] = {name: [] for name in questions}
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for name, (path, message) in questions.items():
            headers = headers_of(path)
            started = time.perf_counter()
            if not caller.call(headers, message):
                raise SystemExit(f"{path} failed")
            times[name].append(time.perf_counter() - started)
            time.sleep(PAUSE_SECONDS)
    caller.close()
    return times


def _clone(stop: Event, port: int, message: bytes, request: bytes) -> None:
    while not stop.is_set():
        fetcher = Fetcher(port)
        if fetcher.fetch(message, request) < LEAST_CLONE_BYTES:
            raise SystemExit("a clone failed")
        fetcher.close()


def _read(stop: Event, port: int, path: str, message: bytes) -> None:
    caller, headers = Caller(port), headers_of(path)
    while not stop.is_set():
        caller.hammer(headers, message, READS_IN_FLIGHT, 0.5)
        caller.close()
        caller = Caller(port)
    caller.close()


@contextlib.contextmanager
def _beside(work: object, *arguments: object) -> Iterator[None]:
    """Some work in a process of its own for the length of the block."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    process = context.Process(target=work, args=(stop, *arguments))  # type: ignore[arg-type]  # one of the above
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(30)
        process.kill()
        process.join()


@dataclass(frozen=True)
class LoopLag:
    """What the node's histogram has counted up to a moment, by upper bounds."""

    buckets: dict[float, float]

    @classmethod
    def now(cls, port: int) -> "LoopLag":
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            page = answer.read().decode()
        name = "gitaly_event_loop_lag_seconds"
        for family in text_string_to_metric_families(page):
            if family.name == name:
                samples = [x for x in family.samples if x.name == f"{name}_bucket"]
                return cls({float(x.labels["le"]): x.value for x in samples})
        raise SystemExit(f"the node does not tell {name}")

    def until_now(self, port: int) -> str:
        """ "p50 ≤ 1 ms, p99 ≤ 25 ms, most ≤ 50 ms" since this moment."""
        counted = {
            bound: value - self.buckets[bound] for bound, value in LoopLag.now(port).buckets.items()
        }
        total = max(counted.values())

        def bound_of(share: float) -> str:
            found = min(bound for bound, value in counted.items() if value >= share * total)
            return f"≤ {found * 1e3:g} ms"

        return f"p50 {bound_of(0.5)}, p99 {bound_of(0.99)}, most {bound_of(1)}"


@dataclass(frozen=True)
class Shares:
    """Processor seconds up to a moment."""

    measured: Measured
    at: float
    own: float  # of the node itself
    git: float  # of git that has ended, and of git that runs
    idle: float  # of the machine
    all: float

    @classmethod
    def now(cls, measured: Measured) -> "Shares":
        ticks = list(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]))
        own, ended = _ticks(measured.pid)
        running = sum(sum(_ticks(pid)) for pid in _below(measured.pid))
        return cls(
            measured, time.monotonic(), own, ended + running, ticks[3] + ticks[4], sum(ticks)
        )

    def until_now(self) -> str:
        """ "node 40 %, git 120 %, others 40 %, idle 0 % of a processor" since this moment."""
        now = Shares.now(self.measured)
        seconds = now.at - self.at
        own, git, idle, total = (
            (after - before) / TICKS / seconds * 100
            for before, after in (
                (self.own, now.own),
                (self.git, now.git),
                (self.idle, now.idle),
                (self.all, now.all),
            )
        )
        rest = total - own - git - idle
        return f"node {own:.0f} %, git {git:.0f} %, others {rest:.0f} %, idle {idle:.0f} %"


def _ticks(pid: int) -> tuple[int, int]:
    """Of a process itself, and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def _below(pid: int) -> Iterator[int]:
    """The processes that a process has started, and what they have started."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = list(map(int, path.read_text().split()))
        except OSError:
            continue
        for child in children:
            yield child
            yield from _below(child)
