"""A node at work: its servers and listeners from the first connection to the last call."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from gitaly.git import Processes
from gitaly.observe.log import Logger
from gitaly.rpc import Call
from gitaly.rpc.core import Core
from gitaly.services.health import HealthServicer
from gitaly.transport.connections import Connection, Connections
from gitaly.transport.listener import Listener

REPORT_SECONDS: Final = 5  # how often a draining node says what it waits for
# After so long without a call, clients are left that have all answers and do not take notice of the
# core's go-away: it would wait for them for 20 seconds.
IDLE_SECONDS: Final = 1
CANCEL_SECONDS: Final = 10  # for calls that were told to stop


class Serving:
    """Everything that listens, answers or runs."""

    def __init__(
        self,
        *,
        listeners: Sequence[Listener],
        internal: Listener,
        core: Core,
        internal_core: Core,
        connections: Connections,
        running: set[Call],
        health: HealthServicer,
        processes: Processes,
        logger: Logger,
    ) -> None:
        self.listeners = listeners
        self.connections = connections
        self._internal = internal
        self._core = core
        self._internal_core = internal_core
        self._running = running
        self._health = health
        self._processes = processes
        self._logger = logger
        self._is_stopped = False

    @property
    def is_stopped(self) -> bool:
        """Whether it has begun to stop: it takes no new calls."""
        return self._is_stopped

    async def start(self) -> None:
        """Serve on every address. Raises CannotListen; then nothing is left open."""
        await self._core.start()
        await self._internal_core.start()
        self._internal.open()
        for listener in self.listeners:
            listener.open()

    async def stop(self, grace_seconds: float, hurry: asyncio.Event) -> bool:
        """Accept nothing more, wait for running calls, then cancel them.

        `hurry`: when it is set, the wait ends at once. True if every call ended by itself.
        """
        if self._is_stopped:
            return True
        self._is_stopped = True
        self._health.drain()
        for listener in self.listeners:
            listener.close()
        deadline = time.monotonic() + grace_seconds
        for connection in self._external():
            if not connection.is_identified:
                connection.wire.abort()  # it is too late to begin
        clean = await self._drain(deadline, hurry)
        await self._wait_for_tails(deadline, hurry)
        for connection in self._external():
            connection.wire.abort()
        self._internal.close()
        await self._internal_core.stop(None)
        await self._processes.aclose()
        self.connections.abort()
        return clean

    def _external(self) -> list[Connection]:
        return [connection for connection in self.connections if not connection.is_internal]

    def _leave_who_waits_for_nothing(self) -> None:
        for connection in self._external():
            if connection.is_delivered:
                connection.wire.abort()

    async def _drain(self, deadline: float, hurry: asyncio.Event) -> bool:
        grace_seconds = max(0, deadline - time.monotonic())
        stopping = asyncio.ensure_future(self._core.stop(grace_seconds + CANCEL_SECONDS))
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            while not stopping.done() and not hurry.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._report_running()
                was_idle = not self._running
                ended, _ = await asyncio.wait(
                    {stopping, hurried},
                    timeout=min(left, IDLE_SECONDS if was_idle else REPORT_SECONDS),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not ended and was_idle and not self._running:
                    self._leave_who_waits_for_nothing()
            clean = stopping.done()
            if not clean:
                await self._core.stop(None)
            await stopping
        finally:
            hurried.cancel()
        await self._wait_for_cancelled()
        return clean

    async def _wait_for_cancelled(self) -> None:
        """Handlers that were cancelled still have to stop their children."""
        until = time.monotonic() + CANCEL_SECONDS
        while self._running and time.monotonic() < until:  # noqa: ASYNC110  # a moment, at the end
            await asyncio.sleep(0.01)

    async def _wait_for_tails(self, deadline: float, hurry: asyncio.Event) -> None:
        """The calls are over, but slow clients may still fetch what was said in them."""
        while (  # noqa: ASYNC110  # a moment, as a rule
            self._external() and time.monotonic() < deadline and not hurry.is_set()
        ):
            await asyncio.sleep(0.01)

    def _report_running(self) -> None:
        if not self._running:
            return
        now = time.monotonic()
        names: dict[str, int] = {}
        for call in self._running:
            names[call.method.name] = names.get(call.method.name, 0) + 1
        self._logger.info(
            "waiting for running calls",
            calls=len(self._running),
            methods=", ".join(f"{count} {name}" for name, count in sorted(names.items())),
            oldest_seconds=round(now - min(call.started for call in self._running), 1),
        )
