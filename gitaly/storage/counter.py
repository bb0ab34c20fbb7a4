"""How many repositories there are, by storage and kind, for Prometheus."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gitaly.observe.log import Logger
from gitaly.storage.blocking import Blocking
from gitaly.storage.locator import REQUIRED_ENTRIES
from gitaly.storage.places import DATA_DIRECTORY
from gitaly.storage.repository import Repository


class RepositoryCounter(Collector):
    """Counts once by a walk, then by what is created and removed.

    Tells nothing until the walk has ended. Source: Gitaly, internal/gitaly/storage/counter.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()  # (storage path, prefix)
        self._is_complete = False

    def increment(self, repository: Repository) -> None:
        """One more."""
        self._add(repository, 1)

    def decrement(self, repository: Repository) -> None:
        """One less."""
        self._add(repository, -1)

    def _add(self, repository: Repository, number: int) -> None:
        relative = os.path.relpath(repository.path, repository.storage_path)
        prefix = prefix_of(relative)
        if prefix:
            self._counts[repository.storage_path, prefix] += number

    async def count(self, paths: Iterable[str], blocking: Blocking, logger: Logger) -> None:
        """Walk the storages, each path once; minutes for a big one. An error is logged."""
        for path in paths:
            found: Counter[str] = Counter()
            try:
                await blocking.run(_count, path, found)
            except OSError as error:
                logger.error("failed to count repositories", storage=path, error=str(error))
            for prefix, number in found.items():
                self._counts[path, prefix] += number
        self._is_complete = True

    def collect(self) -> Iterator[Metric]:
        """What Prometheus sees."""
        if not self._is_complete:
            return
        family = GaugeMetricFamily(
            "gitaly_total_repositories_count",
            "Gauge of number of repositories by path",
            labels=["path", "prefix"],
        )
        for labels, number in sorted(self._counts.items()):
            family.add_metric(labels, number)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Its name, before there is a value."""
        yield GaugeMetricFamily("gitaly_total_repositories_count", "", labels=["path", "prefix"])


def prefix_of(relative_path: str) -> str:
    """`@hashed`, `@pools`, for Praefect's paths `repositories` or `pools`; empty: none."""
    parts = relative_path.split("/")
    if parts[0] == "@cluster":
        parts = parts[1:]
    return parts[0] if len(parts) > 1 else ""


def walk_repositories(storage_path: str) -> Iterator[str]:
    """Relative paths of all repositories of a storage. Blocks. Raises OSError for the root only.

    `+gitaly` is left out, and nothing is looked for inside of a repository.
    """
    waiting = [""]
    while waiting:
        relative = waiting.pop()
        try:
            with os.scandir(os.path.join(storage_path, relative)) as entries:
                found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError:
            if not relative:
                raise
            continue  # it went away, or is not ours to read
        if all(name in found for name in REQUIRED_ENTRIES):
            yield relative or "."
            continue
        waiting += [
            os.path.join(relative, name)
            for name, is_directory in found.items()
            if is_directory and (relative or name != DATA_DIRECTORY)
        ]


def _count(path: str, found: Counter[str]) -> None:
    for relative in walk_repositories(path):
        prefix = prefix_of(relative)
        if prefix:
            found[prefix] += 1
