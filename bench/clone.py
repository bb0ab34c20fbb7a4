"""A full clone through the node, beside raw git upload-pack with the same configuration."""

import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.peer import Fetcher
from bench.processes import Measured, node
from bench.report import Row
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.git.default_config import global_config, subcommand_config
from gitaly.git.version import find_git
from gitaly.transport.pktline import DELIM, FLUSH, encode

ROUNDS = 11
AT_ONCE = 4


def clone_request(repository: Path) -> bytes:
    """What git sends in protocol version 2 to get everything."""
    listed = subprocess.run(
        ["git", "-C", str(repository), "for-each-ref", "--format=%(objectname)"],
        check=True,
        capture_output=True,
        text=True,
    )
    wants = [encode(f"want {oid}\n".encode()) for oid in sorted(set(listed.stdout.split()))]
    head = [b"command=fetch", b"agent=git/bench", b"object-format=sha1"]
    arguments = [b"thin-pack", b"no-progress", b"ofs-delta"]
    return b"".join(
        [*map(encode, head), DELIM, *map(encode, arguments), *wants, encode(b"done\n"), FLUSH]
    )


def raw_clone(repository: Path, request: bytes) -> tuple[float, float, int]:
    """Seconds, CPU seconds and bytes of upload-pack into a pipe that is drained."""
    binary = find_git("", os.environ)
    pairs = [
        *global_config(binary.version),
        *subcommand_config(os.cpu_count() or 1)("upload-pack"),
    ]
    flags = [part for key, value in pairs for part in ("-c", f"{key}={value}")]
    command = [binary.path, "--git-dir", str(repository), *flags, "upload-pack", str(repository)]
    return timed_upload_pack(command, request)


def timed_upload_pack(argv: Sequence[str], request: bytes) -> tuple[float, float, int]:
    """Seconds, CPU seconds and bytes of such a command, whose output is drained."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "GIT_PROTOCOL": "version=2"},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(request)
    child.stdin.close()
    buffer, size = bytearray(1 << 20), 0
    while read := os.readv(child.stdout.fileno(), [buffer]):
        size += read
    child.stdout.close()
    child.wait()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, size


def clone(port: int, message: bytes, request: bytes) -> tuple[float, int]:
    """Seconds and bytes of a clone through a node."""
    fetcher = Fetcher(port)
    start = time.perf_counter()
    size = fetcher.fetch(message, request)
    seconds = time.perf_counter() - start
    fetcher.close()
    return seconds, size


def measure(storage: Path, relative_path: str) -> Iterator[Row]:
    repository = storage / relative_path
    request = clone_request(repository)
    message = SSHUploadPackWithSidechannelRequest(
        repository=Repository(storage_name="default", relative_path=relative_path),
        git_protocol="version=2",
    ).SerializeToString()
    with node(storage) as measured:
        raw_clone(repository, request)
        clone(measured.port, message, request)
        raws, ours, extra = [], [], []
        for _ in range(ROUNDS):  # in turn, so that both meet the same machine
            raw_seconds, raw_cpu, raw_size = raw_clone(repository, request)
            before = measured.cpu_seconds()
            seconds, size = clone(measured.port, message, request)
            if size < raw_size * 0.99:  # git cuts the same pack into other packets each time
                raise SystemExit(f"{size} bytes came of {raw_size}")
            raws.append(raw_seconds)
            ours.append(seconds)
            extra.append((measured.cpu_seconds() - before - raw_cpu) / size * 1e9)
        megabytes = raw_size / 1e6
        yield Row(
            f"clone of {megabytes:.0f} MB, wall",
            median(ours),
            "s",
            median(raws),
            1.10,
            "upload-pack",
            ratio=median(our / raw for our, raw in zip(ours, raws, strict=True)),
        )
        yield Row("clone, CPU beyond the raw command's", median(extra), "ms/MB", None, 1.0, "")
        yield Row(
            f"{AT_ONCE} clones at once, memory growth",
            _growth(measured, message, request) / 1e6,
            "MB",
            None,
            64,
            "",
        )


def _growth(measured: Measured, message: bytes, request: bytes) -> int:
    before = measured.memory_bytes()
    measured.forget_peak()
    threads = [
        threading.Thread(target=clone, args=(measured.port, message, request))
        for _ in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return measured.peak_bytes() - before
