"""A cache with real git below it, and readers that keep what they get."""

import asyncio
import errno
import io
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitaly.errors import Cancelled
from gitaly.git import Git, PipeReader
from gitaly.hooks import Report
from gitaly.observe.log import make_logger
from gitaly.packcache import PACKS, Limiter, PackCache, PackCommand, PackRequest, pack_metrics
from gitaly.storage import Blocking
from gitaly.streamcache import Policy, Served, Shelf, Store, StreamMetrics
from tests.git.conftest import git, processes, registry
from tests.git.support import Bare, bare, children_of, run_git
from tests.streamcache.disks import small_disk

__all__ = ["git", "processes", "registry", "small_disk"]
MIB = 1 << 20
FLAGS = ("--revs", "--thin", "--delta-base-offset")


class Unlimited:
    """A limiter that lets everybody in."""

    def slot(self, remote_ip: str, *, has_username: bool) -> nullcontext[None]:
        """At once."""
        return nullcontext()


class Reader:
    """An upload-pack in memory. It reads while `may_read` is set, and can go away."""

    def __init__(self) -> None:
        self.pack = b""
        self.said = b""
        self.gone = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.began = asyncio.Event()
        self._file = -1

    async def use_file(self, descriptor: int) -> None:
        self._file = descriptor

    async def copy(self, start: int, end: int) -> Report:
        await self._stall()
        assert start == len(self.pack)
        try:
            piece = os.pread(self._file, end - start, start)
        except OSError as error:
            return Report(0, error.errno or errno.EIO)
        self.pack += piece
        return Report(len(piece))

    async def take(self, source: PipeReader) -> int:
        await self._stall()
        piece = await source.read()
        self.pack += piece
        return len(piece)

    async def write_stdout(self, data: bytes) -> Report:
        await self._stall()
        self.pack += data
        return Report(len(data))

    async def write_stderr(self, data: bytes) -> None:
        self.said += data

    async def _stall(self) -> None:
        self.began.set()
        while not self.may_read.is_set():
            reading = asyncio.ensure_future(self.may_read.wait())
            leaving = asyncio.ensure_future(self.gone.wait())
            await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            leaving.cancel()
            if self.gone.is_set():
                break
        if self.gone.is_set():
            raise Cancelled("gone")


@dataclass
class Fetch:
    """One request, and what became of it."""

    reader: Reader
    served: Served
    task: "asyncio.Task[None]"

    async def pack(self) -> bytes:
        await self.task
        return self.reader.pack


@dataclass
class Place:
    """A cache over a directory, and a repository beside it."""

    cache: PackCache
    shelf: Shelf | None
    store: Store
    registry: CollectorRegistry
    log: io.BytesIO
    repository: Bare
    clock: "Clock"
    git_registry: CollectorRegistry
    strangers: list[int] = field(default_factory=lambda: children_of(os.getpid()))
    command: PackCommand = field(default_factory=lambda: PackCommand(FLAGS))

    @property
    def directory(self) -> Path:
        return Path(self.store.directory)

    def fetch(
        self,
        *wants: str,
        command: PackCommand | None = None,
        ip: str = "",
        reader: Reader | None = None,
    ) -> Fetch:
        """Begin to fetch what is named; without names, everything."""
        found = [self.repository.git("rev-parse", want) for want in wants or ("main",)]
        reader, served = reader or Reader(), Served()
        request = PackRequest(
            repository=self.repository,
            object_format="sha1",
            command=command or self.command,
            stdin="".join(f"{want}\n" for want in found).encode() + b"--not\n\n",
            remote_ip=ip,
        )
        task = asyncio.create_task(self.cache.serve(request, reader, served))
        return Fetch(reader, served, task)

    def files(self) -> list[Path]:
        return sorted(x for x in self.directory.glob("??/*") if x.is_file())

    def lines(self, message: str = "") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if not message or line["msg"] == message]

    def metric(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(f"gitaly_{name}", labels)
        assert found is not None
        return found

    @property
    def runs(self) -> int:
        """How often git pack-objects was started."""
        name = "gitaly_spawn_forking_time_seconds_count"
        return int(self.git_registry.get_sample_value(name) or 0)

    def children(self) -> list[int]:
        """Gits that run; nodes of other tests may be children of this process too."""
        return [pid for pid in children_of(os.getpid()) if pid not in self.strangers]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


MakePlace = Callable[..., AbstractAsyncContextManager[Place]]


@pytest.fixture
def place(tmp_path: Path, git: Git, registry: CollectorRegistry) -> MakePlace:
    """Makes caches; each has a directory of its own unless it is given one."""
    repository = bare(tmp_path)
    fill(repository, 3 * MIB)

    @asynccontextmanager
    async def make(
        *,
        directory: Path | None = None,
        is_on: bool = True,
        limiter: Limiter | None = None,
        min_free_bytes: int = 1,
        **policy: Any,
    ) -> AsyncIterator[Place]:
        log, clock = io.BytesIO(), Clock()
        logger = make_logger(log, format="json")
        mine = CollectorRegistry()
        metrics = pack_metrics(StreamMetrics(mine))
        blocking = Blocking()
        chosen = directory or Path(tempfile.mkdtemp(dir=tmp_path)) / "cache"
        store = Store(str(chosen), min_free_bytes=min_free_bytes)
        settings = {"max_age_seconds": 300.0, "min_occurrences": 0, **policy}
        shelf = None
        if is_on:
            shelf = Shelf(
                store,
                Policy(**settings),
                kind=PACKS,
                blocking=blocking,
                metrics=metrics,
                logger=logger,
                clock=clock,
            )
        cache = PackCache(
            git,
            shelf=shelf,
            limiter=limiter or Unlimited(),
            blocking=blocking,
            metrics=metrics,
            trace_directory=str(tmp_path),
            logger=logger,
        )
        async with cache:
            yield Place(cache, shelf, store, mine, log, repository, clock, registry)

    return make


def fill(repository: Bare, size: int, name: str = "main") -> None:
    """A commit with random bytes, which nobody tries to compress."""
    if repository.git("config", "--default=", "--get", "core.compression") != "0":
        repository.git("config", "core.compression", "0")
    blob = subprocess.run(
        ["git", "--git-dir", repository.path, "hash-object", "-w", "--stdin"],
        input=os.urandom(size),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    tree = repository.git("mktree", data=f"100644 blob {blob.strip()}\tfile\n")
    commit = repository.git("commit-tree", "-m", name, tree)
    repository.git("update-ref", f"refs/heads/{name}", commit)


def objects_of(pack: bytes, directory: Path) -> list[str]:
    """What a pack holds: ids, types and sizes; git must find nothing wrong with it."""
    target = Path(tempfile.mkdtemp(dir=directory))
    run_git("init", "--bare", "--quiet", str(target))
    file = target / "x.pack"
    file.write_bytes(pack)
    run_git("-C", str(target), "index-pack", "--strict", str(file))
    shown = run_git("verify-pack", "-v", str(file)).splitlines()
    return sorted(" ".join(line.split()[:3]) for line in shown if len(line.split()) >= 5)
