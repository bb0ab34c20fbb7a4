"""Who looks at the storages of a node, again and again, and tells what changes.

Each look has a thread of its own, which nobody waits for: on a network file system whose server is
gone it may never come back. It takes no thread of those that calls use, and the process can end.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gitaly.observe.log import Logger
from gitaly.storage.apart import on_thread
from gitaly.storage.file_systems import concern, file_system_name
from gitaly.storage.health import USUAL, Health, Pace
from gitaly.storage.locator import Storage, Storages
from gitaly.storage.metadata import filesystem_id
from gitaly.storage.probe import Probe, Problem, Space, probe

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of one storage."""

    problem: Problem | None
    error: str  # in words; may hold paths
    space: Space
    file_system: str  # empty: it has not answered yet


class Patrol(Collector):
    """The health of each storage. Storages that share a path share it."""

    def __init__(self, storages: Storages, logger: Logger, pace: Pace = USUAL) -> None:
        self._storages = storages
        self._logger = logger
        self._patience_seconds = pace.patience_seconds
        self._health = {path: Health(pace) for path in storages.distinct_paths()}
        self._identities: dict[str, str] = {}  # by path
        self._file_systems: dict[str, str] = {}  # by path
        self._running: dict[str, asyncio.Future[Probe]] = {}  # looks that have not been heard of
        self._began: dict[str, float] = {}  # looks that have not ended; of any thread
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have it called after each change of any storage's health."""
        self._listeners.append(listener)

    @property
    def health(self) -> Mapping[Storage, Health]:
        """Of each storage, in the order of the configuration."""
        return {storage: self._health[storage.path] for storage in self._storages}

    def sight(self, storage: Storage) -> Sight:
        """Of a storage of this node, without a look at its disk; for any thread.

        Who judges looks needs the event loop. A look that does not end is seen without it.
        """
        path = storage.path
        health, began = self._health[path], self._began.get(path)
        problem, error = health.problem, health.error
        if began is not None and time.monotonic() - began > self._patience_seconds:
            hanging = self._hanging()
            problem, error = hanging.problem, hanging.error
        return Sight(
            problem=problem,
            error=error,
            space=health.space,
            file_system=self._file_systems.get(path, ""),
        )

    async def start(self) -> None:
        """Look at each storage once, and warn of file systems that will make trouble."""
        async with asyncio.TaskGroup() as tasks:
            for path in self._health:
                tasks.create_task(self._begin(path))

    async def run(self) -> None:
        """Look at each storage until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for path in self._health:
                tasks.create_task(self._watch(path))

    async def _begin(self, path: str) -> None:
        name = await self._on_thread(lambda: file_system_name(path))
        if name is None:
            self._observe(path, self._hanging())
            return
        self._file_systems[path] = name
        if text := concern(name):
            self._logger.warning(
                "a storage is on a file system that is not made for it",
                storage=self._names(path),
                storage_path=path,
                file_system=name,
                reason=text,
            )
        self._identities[path] = await self._on_thread(lambda: filesystem_id(path)) or ""
        self._observe(path, await self._one_look(path))

    async def _watch(self, path: str) -> None:
        while True:
            await asyncio.sleep(self._health[path].pause_seconds)
            self._observe(path, await self._one_look(path))

    async def _one_look(self, path: str) -> Probe:
        """What is found, or that the file system hangs; then the look goes on by itself."""
        running = self._running.get(path)
        if running is None:
            identity = self._identities.get(path, "")
            running = self._running[path] = on_thread(partial(self._look, path, identity))
        done, _ = await asyncio.wait([running], timeout=self._patience_seconds)
        if not done:
            return self._hanging()
        del self._running[path]
        return running.result()

    def _look(self, path: str, identity: str) -> Probe:
        self._began[path] = time.monotonic()
        try:
            return probe(path, identity)
        finally:
            del self._began[path]

    def _hanging(self) -> Probe:
        seconds = self._patience_seconds
        text = f"the file system has not answered for {seconds:g} seconds"
        return Probe(problem=Problem.HANGS, error=text, seconds=seconds)

    async def _on_thread(self, function: Callable[[], str]) -> str | None:
        """None: it did not come back in time."""
        done, _ = await asyncio.wait([on_thread(function)], timeout=self._patience_seconds)
        return done.pop().result() if done else None

    def _observe(self, path: str, found: Probe) -> None:
        health, now = self._health[path], time.monotonic()
        before, since = health.problem, health.since
        if not health.observe(found, now):
            return
        self._tell_calls(path, health.problem)
        fields: dict[str, object] = {"storage": self._names(path), "storage_path": path}
        if health.problem is not None:
            fields |= {"problem": health.problem.value, "error": health.error}
            self._logger.error("a storage is not healthy", **fields)
        elif before is not None and since is not None:
            fields |= {"problem": before.value, "seconds": round(now - since, 1)}
            self._logger.info("a storage is healthy again", **fields)
        for listener in self._listeners:
            listener()

    def _tell_calls(self, path: str, problem: Problem | None) -> None:
        """Calls would hang, or find an empty directory and say that repositories do not exist; a
        push to a read-only storage would be told that git cannot make a directory."""
        self._storages.set_access(
            path,
            is_closed=problem in (Problem.HANGS, Problem.REPLACED),
            is_read_only=problem is Problem.READ_ONLY,
        )

    def _names(self, path: str) -> str:
        return ", ".join(storage.name for storage in self._storages if storage.path == path)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus sees: what the last looks have found. Nothing here touches a disk."""
        gauges = {
            "gitaly_storage_healthy": "1 if the storage can be read and written to, else 0.",
            "gitaly_storage_size_bytes": "Size of the file system below the storage.",
            "gitaly_storage_available_bytes": "What the node may still write there.",
            "gitaly_storage_available_inodes": "Files that can still be made there.",
            "gitaly_storage_probe_seconds": "How long the last look at the storage took.",
        }
        families = {
            name: GaugeMetricFamily(name, text, labels=["storage"]) for name, text in gauges.items()
        }
        problems = GaugeMetricFamily(
            "gitaly_storage_problem",
            "1 for what is wrong with the storage, else 0.",
            labels=["storage", "problem"],
        )
        for storage, health in self.health.items():
            values = (
                health.problem is None,
                health.space.size_bytes,
                health.space.available_bytes,
                health.space.available_inodes,
                health.probe_seconds,
            )
            for family, value in zip(families.values(), values, strict=True):
                family.add_metric([storage.name], float(value))
            for problem in Problem:
                problems.add_metric([storage.name, problem.value], float(problem is health.problem))
        yield from families.values()
        yield problems
