"""Two repositories beside each other, one of which wants everything: what the other notices.

`memory`: a repository whose packing takes more than its group may have is cloned again and again;
a clone of another one runs beside it, by turns with undisturbed ones. `shares`: two repositories
of the same size are cloned at once with CPU shares of 1024 and 256.
"""

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.clone import clone as fetch
from bench.clone import clone_request
from bench.processes import TICKS, Measured, node
from bench.report import Row
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import SSHUploadPackWithSidechannelRequest
from gitaly.cgroups import version_at
from gitaly.cgroups.v2 import weight_of

ROUNDS = 5
BUSY_BLOBS, BUSY_BYTES = 40, 4 << 20  # some seconds of searching for deltas
AT_ONCE = 4  # clones of each repository: more than there are processors
SHARES_SECONDS = 4.0
MOUNTPOINT = "/sys/fs/cgroup"
BLOBS, BLOB_BYTES = 8, 45 << 20  # below core.bigFileThreshold: git tries to make deltas of them
LIMIT_MIB = 128
NAMED = f"memory limit of repository cgroup hostile ({LIMIT_MIB} MiB) is reached"
MEMORY_CONFIG = f"""
[cgroups]
hierarchy_root = "gitaly-bench"
[cgroups.repositories]
count = 8
[[cgroups.repositories.named]]
name = "hostile"
storage = "default"
relative_path = "hostile.git"
memory_bytes = {LIMIT_MIB << 20}
cpu_shares = 256
"""
SHARES_CONFIG = """
[cgroups]
hierarchy_root = "gitaly-bench"
cpu_shares = 102400  # whatever else runs on the machine shall not be measured
[cgroups.repositories]
count = 8
[[cgroups.repositories.named]]
name = "much"
storage = "default"
relative_path = "much.git"
cpu_shares = 1024
[[cgroups.repositories.named]]
name = "little"
storage = "default"
relative_path = "little.git"
cpu_shares = 256
"""
ENV = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def memory(storage: Path, relative_path: str) -> Iterator[Row]:
    """The hostile clone, and the clone beside it."""
    make_greedy(storage / "hostile.git", BLOBS, BLOB_BYTES, window=250)
    stop = threading.Event()
    attacks = 0
    request, message = clone_request(storage / "hostile.git"), message_for("hostile.git")

    def attack(measured: Measured) -> None:
        nonlocal attacks
        while not stop.is_set():  # the attacker's own work is done elsewhere, as a rule
            fetch(measured.port, message, request)
            attacks += 1

    with node(storage, MEMORY_CONFIG) as measured:
        clone(measured, relative_path)
        alone, beside = [], []
        for _ in range(ROUNDS):
            alone.append(_whole(measured, relative_path))
            stop.clear()
            attacker = threading.Thread(target=attack, args=(measured,))
            attacker.start()
            time.sleep(0.5)
            beside.append(_whole(measured, relative_path))
            stop.set()
            attacker.join()
        works, said = clone(measured, "hostile.git")
        attacks += 1
        named = measured.log.read_text().count(f'{NAMED}"')
        lives = Path(f"/proc/{measured.pid}").exists()
    if works or NAMED not in said:
        raise SystemExit(f"the hostile clone ended with: {said}")
    print(f"git clone of the hostile repository said:\n{said}")
    yield Row(
        f"hostile clones that failed by name, of {attacks}",
        named,
        "",
        attacks,
        1,
        "clones",
        higher_is_better=True,
    )
    yield Row(
        "clone beside it, speed",
        1 / median(beside),
        "1/s",
        1 / median(alone),
        0.7,
        "undisturbed",
        higher_is_better=True,
        ratio=median(a / b for a, b in zip(alone, beside, strict=True)),
    )
    yield Row("the node lived", float(lives), "", None, 1, "", higher_is_better=True)


def shares(storage: Path) -> Iterator[Row]:
    """CPU seconds that two groups take in the same seconds."""
    for name in ("much.git", "little.git"):
        make_greedy(storage / name, BUSY_BLOBS, BUSY_BYTES, window=25)
    with node(storage, SHARES_CONFIG) as measured, contextlib.ExitStack() as stack:
        for name in ("much", "little"):
            stack.enter_context(_cloning(measured, storage / f"{name}.git"))
        time.sleep(2)  # all of them compute
        ratios = []
        for _ in range(ROUNDS):
            taken = _cpu_seconds(measured.pid, ("much", "little"), SHARES_SECONDS)
            ratios.append(taken["much"] / taken["little"])
    text = "CPU of 1024 shares, by that of 256"
    wanted = 4.0
    if version_at(MOUNTPOINT) == 2:  # the curve from shares to weights is flatter
        wanted = weight_of(1024) / weight_of(256)
    yield Row(text, median(ratios), "times", wanted, 1.2, "by shares")
    yield Row(text, median(ratios), "times", wanted, 0.8, "by shares", higher_is_better=True)


def message_for(relative_path: str) -> bytes:
    """The request of a fetch."""
    return SSHUploadPackWithSidechannelRequest(
        repository=Repository(storage_name="default", relative_path=relative_path),
        git_protocol="version=2",
    ).SerializeToString()


@contextlib.contextmanager
def _cloning(measured: Measured, repository: Path) -> Iterator[None]:
    """Clones, several at once and one after the other, for the length of the block."""
    request = clone_request(repository)
    message = message_for(repository.name)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, SystemExit):
                fetch(measured.port, message, request)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()


def _cpu_seconds(node_pid: int, names: tuple[str, ...], seconds: float) -> dict[str, float]:
    """What the processes of each group use in that time; looked at often, for those that end."""
    first: dict[tuple[str, int], float] = {}
    last: dict[tuple[str, int], float] = {}
    until = time.monotonic() + seconds
    start = True
    while time.monotonic() < until:
        for name in names:
            for pid in _processes(f"gitaly-bench/gitaly-{node_pid}/repos-{name}"):
                with contextlib.suppress(OSError, IndexError):
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    used = (int(fields[11]) + int(fields[12])) / TICKS
                    first.setdefault((name, pid), used if start else 0.0)
                    last[name, pid] = used
        start = False
        time.sleep(0.02)
    return {
        name: sum(used - first[key] for key, used in last.items() if key[0] == name)
        for name in names
    }


def _processes(group: str) -> list[int]:
    for top in ("cpu/", ""):
        path = Path(MOUNTPOINT, f"{top}{group}", "cgroup.procs")
        if path.exists():
            return list(map(int, path.read_text().split()))
    return []


def make_greedy(path: Path, blobs: int, size: int, window: int) -> None:
    """Loose blobs, much like each other; a clone compares each with `window` others."""
    if (path / "made").exists():
        return
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
    run = ["git", "-C", str(path), "-c", "core.compression=0"]
    subprocess.run([*run, "config", "pack.window", str(window)], check=True)
    noise = random.Random(18).randbytes(size)
    tree = b""
    for number in range(blobs):
        edited = bytearray(noise)
        for place in range(number, len(edited), 1 << 16):
            edited[place] = number
        made = subprocess.run(
            [*run, "hash-object", "-w", "--stdin"], input=edited, check=True, capture_output=True
        )
        tree += b"100644 blob %s\tlarge%d.bin\n" % (made.stdout.strip(), number)
    made = subprocess.run([*run, "mktree"], input=tree, check=True, capture_output=True)
    author = {"GIT_AUTHOR_NAME": "Eve", "GIT_AUTHOR_EMAIL": "eve@example.com"}
    committer = {key.replace("AUTHOR", "COMMITTER"): value for key, value in author.items()}
    made = subprocess.run(
        [*run, "commit-tree", "-m", "greedy", made.stdout.decode().strip()],
        env=os.environ | author | committer,
        check=True,
        capture_output=True,
    )
    head = made.stdout.decode().strip()
    subprocess.run([*run, "update-ref", "refs/heads/main", head], check=True)
    (path / "made").touch()


def clone(measured: Measured, relative_path: str) -> tuple[bool, str]:
    """With real git, as a user does it; whether it worked, and what git said."""
    url = f"gitaly://127.0.0.1:{measured.port}/default/{relative_path}"
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        made = subprocess.run(
            ["git", "clone", "-q", "--bare", url, directory],
            env=ENV,
            capture_output=True,
            text=True,
        )
    return made.returncode == 0, made.stderr


def _whole(measured: Measured, relative_path: str) -> float:
    started = time.perf_counter()
    works, said = clone(measured, relative_path)
    if not works:
        raise SystemExit(f"the clone of {relative_path} failed: {said}")
    return time.perf_counter() - started
