"""A node at work: its servers and listeners from the first connection to the last call."""

import asyncio
import math
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from gitaly.errors import NodeError
from gitaly.git import Processes
from gitaly.metrics_listener import MetricsListener
from gitaly.observe.log import Logger
from gitaly.remaining import Remaining, remaining
from gitaly.rpc import Call
from gitaly.rpc.core import Core
from gitaly.services.health import HealthServicer
from gitaly.supervision.inherited import Inherited
from gitaly.supervision.probe import Door, is_serving
from gitaly.transport.connections import Connection, Connections
from gitaly.transport.listener import Listener
from gitaly.transport.wire import SocketWire

REPORT_SECONDS: Final = 5  # how often a draining node says what it waits for
CANCEL_SECONDS: Final = 10  # for calls that were told to stop
PROBE_SECONDS: Final = 10  # for a listener to answer its own node
NEWCOMER_SECONDS: Final = 5  # for a client that came just before a hand-over to begin
PASS_ON_TICK_SECONDS: Final = 0.02
# A client that was told goodbye closes its connection when it has read everything, however slowly.
# Nobody waits for those that never do; the port is not ours any more.
SLOW_READER_SECONDS: Final = 10


class DoesNotAnswer(NodeError):
    """A listener is open, and nobody gets an answer there."""


async def at_once() -> None:
    """For a node that need not wait for its turn."""


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
        metrics: MetricsListener | None = None,
    ) -> None:
        self.listeners = listeners
        self.connections = connections
        self.metrics = metrics
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

    async def start(self, turn: Callable[[], Awaitable[None]] = at_once) -> None:
        """Serve on every address, as soon as it is our `turn`.

        Raises CannotListen or CannotServeMetrics, before that; then nothing is left open.
        """
        self._internal.open()
        for listener in self.listeners:
            listener.bind()
        if self.metrics is not None:
            self.metrics.bind()
        await turn()
        self.resume()
        if self.metrics is not None:
            self.metrics.accept()

    async def require_answers(self) -> None:
        """Ask every listener for our health, as a client would. Raises DoesNotAnswer."""
        for listener in self.listeners:
            door = Door.of(listener.listening, has_tls=listener.endpoint.tls is not None)
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    answers = await is_serving(door)
            except TimeoutError:
                answers = False
            if not answers:
                kind, address = listener.endpoint.kind, listener.endpoint.address
                raise DoesNotAnswer(f"listener {kind} {address} does not answer its own node")

    async def answers(self) -> bool:
        """Whether this event loop serves a call."""
        if self._is_stopped:
            return True
        near, far = socket.socketpair()
        near.setblocking(False)
        self._core.serve(SocketWire(near))
        return await is_serving(Door(where=far))

    def adopt(self) -> None:
        """What was inherited is ours: nobody else will use or remove it."""
        for listener in self.listeners:
            listener.own_path()

    def pause(self) -> None:
        """Accept nobody and refuse nobody, until `resume`; who is there is served."""
        for listener in self.listeners:
            listener.pause()

    def resume(self) -> None:
        """Accept whoever comes, and has come meanwhile."""
        for listener in self.listeners:
            listener.accept()

    def give_up(self, listeners: Collection[tuple[str, str]]) -> None:
        """Close some, by kind and address, and remove their paths: nobody will listen there."""
        for listener in self.listeners:
            if (listener.endpoint.kind, listener.endpoint.address) in listeners:
                listener.close()

    def sockets(self) -> list[Inherited]:
        """What listens, for a process that takes our place. They stay ours."""
        found = [
            Inherited(
                socket=listener.listening,
                name="",
                is_kept=listener.endpoint.is_kept,
                kind=listener.endpoint.kind,
                configured=listener.endpoint.address,
            )
            for listener in self.listeners
        ]
        if self.metrics is not None:
            found.append(
                Inherited(
                    socket=self.metrics.listening,
                    name="",
                    is_kept=False,
                    kind="metrics",
                    configured=self.metrics.address,
                )
            )
        return found

    def remaining(self) -> Remaining:
        """The calls that run."""
        return remaining(self._running)

    async def stop(
        self, grace_seconds: float, hurry: asyncio.Event, *, is_passed_on: bool = False
    ) -> bool:
        """Accept nothing more, wait for running calls, then cancel them.

        `hurry`: when it is set, the wait ends at once. `is_passed_on`: another process accepts on
        our sockets. True if every call ended by itself.
        """
        if self._is_stopped:
            return True
        self._is_stopped = True
        for listener in self.listeners:
            listener.close(is_passed_on=is_passed_on)
        deadline = time.monotonic() + grace_seconds
        if is_passed_on:
            await self._pass_on(deadline, hurry)
        else:
            self._health.drain()
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

    async def _pass_on(self, deadline: float, hurry: asyncio.Event) -> None:
        """Nobody who has reached us is sent away: we serve until clients have no more
        calls here, and begin none."""
        if self.metrics is not None:
            await self.metrics.aclose()  # from now on the successor's figures count
        self._health.leave()
        told: set[Connection] = set()
        started, reported = time.monotonic(), -math.inf
        idle_since = started
        while time.monotonic() < deadline and not hurry.is_set():
            now = time.monotonic()
            external = self._external()
            for connection in external:
                if connection.http is not None and connection not in told:
                    told.add(connection)
                    connection.http.say_goodbye()
            if now - reported >= REPORT_SECONDS:
                self._report_running()
                reported = now
            if self._running or not all(connection in told for connection in external):
                idle_since = now
            is_late = now - started > NEWCOMER_SECONDS  # for who has said nothing yet
            if not external or now - idle_since > SLOW_READER_SECONDS:
                return
            if is_late:
                self._dismiss_silent(external)
            await asyncio.sleep(PASS_ON_TICK_SECONDS)

    def _dismiss_silent(self, connections: list[Connection]) -> None:
        for connection in connections:
            if not connection.is_identified:
                connection.wire.abort()

    def _external(self) -> list[Connection]:
        return [connection for connection in self.connections if not connection.is_internal]

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
                await asyncio.wait(
                    {stopping, hurried},
                    timeout=min(left, REPORT_SECONDS),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            clean = stopping.done()
            if not clean:
                await self._core.stop(None)
        finally:
            hurried.cancel()
            stopping.cancel()
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
        left = self.remaining()
        names: dict[str, int] = {}
        for call in self._running:
            names[call.method.name] = names.get(call.method.name, 0) + 1
        self._logger.info(
            "waiting for running calls",
            calls=len(self._running),
            methods=", ".join(f"{count} {name}" for name, count in sorted(names.items())),
            oldest_seconds=round(left.oldest_seconds, 1),
            left=left.text("left"),
        )
