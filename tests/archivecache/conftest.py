"""A GetArchive with a cache, real git below it, and what can be seen of both."""

import asyncio
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitaly._pb.repository_pb2 import GetArchiveRequest
from gitaly.archivecache import ARCHIVES, ArchiveCache, archive_metrics
from gitaly.git import CatfilePool, Git, GitObjects, Handles, InProcessObjects, Objects
from gitaly.observe.log import make_logger
from gitaly.services.repository import ArchiveServicer, LfsFilter
from gitaly.storage import Blocking, Storages
from gitaly.streamcache import Policy, Shelf, Store, StreamMetrics
from tests.git.support import Bare, run_git
from tests.services.repository.conftest import Started, git, started
from tests.services.repository.filling import commit_files
from tests.storage.support import message
from tests.streamcache.disks import small_disk

__all__ = ["git", "small_disk", "started"]

TAR = GetArchiveRequest.TAR
MIB = 1 << 20
Uncached = Callable[..., Awaitable[bytes]]


def request_for(**more: Any) -> GetArchiveRequest:
    """Of everything in main, unless something else is given."""
    usual: dict[str, Any] = {
        "repository": message(),
        "commit_id": "main",
        "prefix": "p",
        "format": TAR,
    }
    return GetArchiveRequest(**(usual | more))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class CallLog:
    """A call, as far as GetArchive looks at it."""

    def __init__(self) -> None:
        self.log_fields: dict[str, object] = {}


@dataclass
class Answer:
    """A whole answer, and what the log says of it."""

    data: bytes
    fields: dict[str, object]

    @property
    def files(self) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            found = {entry.name: tar.extractfile(entry) for entry in tar if entry.isfile()}
            return {name: file.read() for name, file in found.items() if file is not None}

    @property
    def is_hit(self) -> bool:
        return self.fields["archive_cache.hit"] == "true"


@dataclass
class Place:
    """A servicer, and its cache over a directory."""

    archives: ArchiveServicer
    cache: ArchiveCache
    shelf: Shelf
    directory: Path
    registry: CollectorRegistry
    log: io.BytesIO
    clock: Clock
    started: Started

    def call(self, log: Any = None, **more: Any) -> AsyncIterator[Any]:
        """The messages of an answer."""
        call: Any = log or CallLog()
        return self.archives.GetArchive(request_for(**more), call)

    async def archive(self, **more: Any) -> Answer:
        log: Any = CallLog()
        data = b"".join([part.data async for part in self.call(log, **more)])
        return Answer(data, log.log_fields)

    def begin(self, **more: Any) -> "asyncio.Task[Answer]":
        """A client that reads as fast as it can."""
        return asyncio.create_task(self.archive(**more))

    @property
    def runs(self) -> int:
        """How often git archive was started."""
        return self.started.subcommands.count("archive")

    def files(self) -> list[Path]:
        return sorted(x for x in self.directory.glob("??/*") if x.is_file())

    def lines(self, text: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in found if line["msg"] == text]

    def metric(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(f"gitaly_{name}", labels)
        assert found is not None
        return found


MakePlace = Callable[..., AbstractAsyncContextManager[Place]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "storage"
    root.mkdir()
    return root


@pytest.fixture
def storages(root: Path) -> Storages:
    return Storages([("default", str(root))])


@pytest.fixture
def bare(root: Path) -> Bare:
    run_git("init", "--bare", "--quiet", "--template=", str(root / "a.git"))
    return Bare(str(root / "a.git"))


@pytest.fixture
async def objects(git: Git) -> AsyncIterator[Objects]:
    handles = Handles(git.formats)
    async with CatfilePool(git) as pool:
        yield InProcessObjects(handles, GitObjects(git, pool))
    handles.clear()


@dataclass
class Parts:
    """What a place is made of."""

    storages: Storages
    git: Git
    objects: Objects
    started: Started
    directory: Path


@asynccontextmanager
async def made(
    parts: Parts,
    *,
    lfs: LfsFilter | None = None,
    objects: Objects | None = None,
    min_free_bytes: int = 1,
    **policy: Any,
) -> AsyncIterator[Place]:
    log, clock, registry, blocking = io.BytesIO(), Clock(), CollectorRegistry(), Blocking()
    logger = make_logger(log, format="json")
    metrics = archive_metrics(StreamMetrics(registry))
    shelf = Shelf(
        Store(str(parts.directory), min_free_bytes=min_free_bytes),
        Policy(**{"max_age_seconds": 300.0, "min_occurrences": 0, "backpressure": False} | policy),
        kind=ARCHIVES,
        blocking=blocking,
        metrics=metrics,
        logger=logger,
        clock=clock,
    )
    cache = ArchiveCache(parts.git, shelf=shelf, blocking=blocking, metrics=metrics, logger=logger)
    archives = ArchiveServicer(parts.storages, parts.git, objects or parts.objects, lfs, cache)
    async with cache:
        yield Place(archives, cache, shelf, parts.directory, registry, log, clock, parts.started)


@pytest.fixture
def place(
    storages: Storages, git: Git, objects: Objects, started: Started, tmp_path: Path
) -> MakePlace:
    """Makes caches over one directory."""
    parts = Parts(storages, git, objects, started, tmp_path / "cache")
    return lambda **more: made(parts, **more)


@pytest.fixture
def uncached(storages: Storages, git: Git, objects: Objects) -> Uncached:
    """What the same request gets where no cache is."""
    archives = ArchiveServicer(storages, git, objects)

    async def answer(**more: Any) -> bytes:
        call: Any = CallLog()
        answer = archives.GetArchive(request_for(**more), call)
        return b"".join([part.data async for part in answer])

    return answer


def fill(bare: Bare, mib: int) -> None:
    """A commit of so much that nobody tries to compress."""
    bare.git("config", "core.compression", "0")
    commit_files(bare, {"large": os.urandom(mib * MIB)})
