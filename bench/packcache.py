"""The pack-objects cache, beside the floor F: git upload-pack whose pack comes from `cat FILE`."""

import json
import multiprocessing
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.clone import clone, clone_request, raw_clone, timed_upload_pack
from bench.peer import Fetcher
from bench.processes import Measured, node
from bench.report import Row
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.transport.pktline import DELIM, FLUSH, encode

CACHE = "[pack_objects_cache]\nenabled = true\nmax_bytes = 20000000000\n"
TAG = "v6"  # its newest commit alone is a pack of 5 MB
CLONES = 100
AT_ONCE = 20
FLOORS = 40
ROUNDS = 5
READERS = 200
READER_PROCESSES = 4
READER_BYTES_PER_SECOND = 1_000_000
READING_SECONDS = 12


@dataclass(frozen=True)
class Cost:
    """Of one clone."""

    cpu: float  # seconds
    wall: float
    size: int


def shallow_request(repository: Path, revision: str) -> bytes:
    """What git sends in protocol version 2 for `--depth=1`."""
    commit = _git(repository, "rev-parse", f"{revision}^0")
    head = [b"command=fetch", b"agent=git/bench", b"object-format=sha1"]
    arguments = [b"thin-pack", b"no-progress", b"ofs-delta", b"deepen 1"]
    wants = [f"want {commit}\n".encode(), b"done\n"]
    return b"".join([*map(encode, head), DELIM, *map(encode, [*arguments, *wants]), FLUSH])


def full_requests(repository: Path, count: int) -> list[bytes]:
    """Requests for everything that differ in what they want, and not in what they get."""
    whole = clone_request(repository)
    main = _git(repository, "rev-parse", "main")
    wants = [encode(f"want {x}\n".encode()) for x in _tips(repository) if x != main]
    return [whole.replace(want, b"") for want in wants[:count]]


def finished_pack(repository: Path, request: bytes, target: Path) -> None:
    """What pack-objects answers to a request, in a file."""
    script = target.with_suffix(".sh")
    script.write_text(f'#!/bin/sh\nshift\nexec git "$@" | tee {target}\n')
    script.chmod(0o700)
    _upload_pack(repository, request, str(script))


def floor(repository: Path, request: bytes, pack: Path) -> Cost:
    """A bare upload-pack that computes nothing."""
    return _upload_pack(repository, request, f"cat {pack} #")


def _upload_pack(repository: Path, request: bytes, hook: str) -> Cost:
    command = ["git", "-c", f"uploadpack.packObjectsHook={hook}", "upload-pack", str(repository)]
    wall, cpu, size = timed_upload_pack(command, request)
    return Cost(cpu, wall, size)


def many(measured: Measured, message: bytes, request: bytes) -> Cost:
    """CLONES of them, AT_ONCE at a time; the CPU of one, and the wall time of all."""
    before, start = measured.cpu_seconds(), time.perf_counter()
    left = threading.BoundedSemaphore(CLONES)
    sizes: list[int] = []

    def work() -> None:
        while left.acquire(blocking=False):
            sizes.append(clone(measured.port, message, request)[1])

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    assert len(sizes) == CLONES
    return Cost((measured.cpu_seconds() - before) / CLONES, wall, min(sizes))


def generated(measured: Measured) -> int:
    """How many packs the node has computed."""
    lines = [json.loads(x) for x in measured.log.read_text().splitlines() if x.startswith("{")]
    return sum("pack_objects_cache.generated_bytes" in line for line in lines)


def measure(storage: Path, relative_path: str) -> Iterator[Row]:
    repository = storage / relative_path
    message = SSHUploadPackWithSidechannelRequest(
        repository=Repository(storage_name="default", relative_path=relative_path),
        git_protocol="version=2",
    ).SerializeToString()
    with tempfile.TemporaryDirectory(prefix="bench-packs-") as directory:
        yield from _shallow(storage, repository, message, Path(directory, "shallow.pack"))
        yield from _full(storage, repository, message, Path(directory, "full.pack"))


def _shallow(storage: Path, repository: Path, message: bytes, pack: Path) -> Iterator[Row]:
    request = shallow_request(repository, TAG)
    finished_pack(repository, request, pack)
    floors = [floor(repository, request, pack) for _ in range(FLOORS)]
    cpu = sum(cost.cpu for cost in floors) / FLOORS * 1e3
    size = floors[0].size
    yield Row("F: CPU of upload-pack with `cat`", cpu, "ms", None, float("inf"), "")
    yield Row("F: wall", median(x.wall for x in floors) * 1e3, "ms", None, float("inf"), "")
    with node(storage, CACHE) as measured:
        raw_clone(repository, request)
        cold = many(measured, message, request)
        if cold.size < size * 0.99:
            raise SystemExit(f"{cold.size} bytes came of {size}")
        yield Row(
            f"{CLONES} shallow clones, cold: packs computed", generated(measured), "", None, 1, ""
        )
        yield Row("shallow clone, cold, CPU of one", cold.cpu * 1e3, "ms", cpu, 4.5, "F")
        warm = [many(measured, message, request) for _ in range(3)]
        yield Row(
            "shallow clone, warm, CPU of one", median(x.cpu for x in warm) * 1e3, "ms", cpu, 3, "F"
        )
        yield Row(
            "shallow clones, warm",
            max(CLONES / x.wall for x in warm),
            "/s",
            1e3 / (3 * cpu),
            1.5,
            "1/(3 F)",
            higher_is_better=True,
        )


def _full(storage: Path, repository: Path, message: bytes, pack: Path) -> Iterator[Row]:
    first, *requests = full_requests(repository, ROUNDS + 1)
    finished_pack(repository, first, pack)
    with node(storage, CACHE) as measured:
        raws, ours = [], []
        for request in requests:  # each one new to the cache; in turn with raw ones
            raws.append(raw_clone(repository, request)[0])
            ours.append(clone(measured.port, message, request)[0])
        yield Row(
            "first clone, wall",
            median(ours),
            "s",
            median(raws),
            1.25,
            "upload-pack",
            ratio=median(our / raw for our, raw in zip(ours, raws, strict=True)),
        )
        for _ in range(2):  # the second one is kept
            clone(measured.port, message, first)
        extra = []
        for _ in range(ROUNDS):
            base = floor(repository, first, pack)
            before = measured.cpu_seconds()
            size = clone(measured.port, message, first)[1]
            extra.append((measured.cpu_seconds() - before - base.cpu) / size * 1e9)
        yield Row("full clone, warm, CPU beyond F's", median(extra), "ms/MB", None, 1.5, "")
        idle = measured.memory_bytes()
        measured.forget_peak()
        read = _many_readers(measured.port, message, first)
        yield Row(f"{READERS} readers got together", read / 1e6, "MB/s", None, float("inf"), "")
        growth = (measured.peak_bytes() - idle) / 1e6
        yield Row(f"{READERS} readers at 1 MB/s, memory growth", growth, "MB", None, 100, "")


def _many_readers(port: int, message: bytes, request: bytes) -> float:
    """Bytes a second that readers at a limited pace get of one entry together."""
    each = READERS // READER_PROCESSES
    with multiprocessing.get_context("spawn").Pool(READER_PROCESSES) as pool:
        work = [(port, message, request, each)] * READER_PROCESSES
        return sum(pool.starmap(_read_slowly, work)) / READING_SECONDS


def _read_slowly(port: int, message: bytes, request: bytes, count: int) -> int:
    received = [0] * count
    end = time.perf_counter() + READING_SECONDS

    def read(number: int) -> None:
        start = time.perf_counter()

        def pace(size: int) -> None:
            received[number] = size
            time.sleep(max(0.0, size / READER_BYTES_PER_SECOND - (time.perf_counter() - start)))
            if time.perf_counter() >= end:
                raise TimeoutError

        fetcher = Fetcher(port)
        try:
            fetcher.fetch(message, request, pace)
        except TimeoutError:
            fetcher.close()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(received)


def _tips(repository: Path) -> Sequence[str]:
    return sorted(set(_git(repository, "for-each-ref", "--format=%(objectname)").split()))


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
