"""What a node does with its storages beside answering calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from gitaly.config import StorageConfig
from gitaly.errors import NodeError
from gitaly.observe.log import Logger
from gitaly.storage import (
    Blocking,
    Patrol,
    Pulse,
    RepositoryCounter,
    Storages,
    ensure_filesystem_id,
    sweep,
    sweep_quarantines,
)
from gitaly.tasks import background

SWEEP_SECONDS: Final = 3600


class CannotPrepare(NodeError):
    """A storage cannot be made ready for work."""


async def at_once() -> None:
    """For a node that replaces nobody."""


class Upkeep:
    """The storages of a node, their counters, and the brooms."""

    def __init__(
        self,
        storages: Iterable[StorageConfig],
        logger: Logger,
        alone: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        """`alone`: comes back when no other process works for the calls of this node."""
        self.storages = Storages([(storage.name, storage.path) for storage in storages])
        self.blocking = Blocking()
        self.counter = RepositoryCounter()
        self.patrol = Patrol(self.storages, logger)
        self.pulse = Pulse(self.storages)
        self._logger = logger
        self._alone = alone

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Everything it does, for the length of the block. Raises CannotPrepare at its start."""
        try:
            await self._prepare()
            async with background(self._run()), background(self.patrol.run()):
                yield
        finally:
            self.pulse.close()

    def show(self, registry: CollectorRegistry) -> None:
        """Metrics of the storages."""
        registry.register(self.counter)
        registry.register(self.patrol)

    async def _prepare(self) -> None:
        """Give each storage its identity, and look at each."""
        for path in self.storages.distinct_paths():
            try:
                ensure_filesystem_id(path)
            except OSError as error:
                raise CannotPrepare(f"storage {path}: {error.strerror}") from error
        await self.patrol.start()

    async def _run(self) -> None:
        """Count repositories once; sweep what was left over now, and every hour what gets old."""
        paths = self.storages.distinct_paths()
        await self.counter.count(paths, self.blocking, self._logger)
        await self._alone()  # what a draining predecessor has in quarantine is no leftover
        await sweep_quarantines(paths, self.blocking, self._logger)
        while True:
            await sweep(paths, self.blocking, self._logger)
            await asyncio.sleep(SWEEP_SECONDS)
