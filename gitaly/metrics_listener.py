"""The listener of the metrics endpoint: opened, handed over and closed like the others."""

import asyncio
import socket
from contextlib import ExitStack

from prometheus_client import CollectorRegistry

from gitaly.observe.endpoint import NO_PAGES, listen_for_metrics, metrics_endpoint
from gitaly.observe.hosts import KnownHosts
from gitaly.observe.serving import Pages


class MetricsListener:
    """One address; it serves from `accept` to `close`."""

    def __init__(
        self, address: str, registry: CollectorRegistry, inherited: socket.socket | None
    ) -> None:
        self.address = address
        self._registry = registry
        self._listening = inherited
        self._stack = ExitStack()
        self.pages: Pages = NO_PAGES  # to be served beside the metrics
        self.hosts: KnownHosts | None = None  # under which they are shown; None: any

    @property
    def listening(self) -> socket.socket:
        """What listens, once it is bound."""
        assert self._listening is not None
        return self._listening

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.listening.getsockname()[1])

    def bind(self) -> None:
        """Listen; who comes waits until `accept`. Raises CannotServeMetrics."""
        if self._listening is None:
            self._listening = listen_for_metrics(self.address)

    def accept(self) -> None:
        """Serve."""
        served = metrics_endpoint(
            self.address, self._registry, self.pages, self.listening, self.hosts
        )
        self._stack.enter_context(served)

    async def aclose(self) -> None:
        """Serve no more. It may take half a second, so others do not wait for it."""
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        await asyncio.to_thread(self._stack.close)
        listening.close()
