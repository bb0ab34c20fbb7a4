"""The life of a node's process: it serves, it may be replaced by another, it stops."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

from gitaly.errors import NodeError
from gitaly.node import Node
from gitaly.observe.log import Logger
from gitaly.reload import Read
from gitaly.supervision.heartbeat import beat
from gitaly.supervision.pid_file import CannotWritePidFile, PidFile
from gitaly.supervision.predecessor import Predecessor
from gitaly.supervision.successor import NotReplaced, Successor
from gitaly.supervision.supervision import Supervision
from gitaly.tasks import background

SIGNAL_NAMES: Final = {
    signal.SIGTERM: "terminated",
    signal.SIGINT: "interrupt",
    signal.SIGHUP: "hangup",
}
REPORT_SECONDS: Final = 1  # between two lines of status while something ends
# From the moment at which nobody accepts in the old process: clients wait meanwhile.
TURN_SECONDS: Final = 15
GIVE_BACK_SECONDS: Final = 3  # the old process does not wait for much longer


class Orders:
    """What signals have asked for."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()  # the second signal, and any while another process serves
        self.restart = asyncio.Event()
        self.reload = asyncio.Event()
        self.given = asyncio.Event()  # one of them
        self.successor: Successor | None = None  # which starts, or serves already
        self.is_ending = False  # it serves
        self.is_reload_owed = False  # it may have read the configuration too early
        self.first_signal = ""

    def stopped_by(self, number: signal.Signals) -> None:
        """A signal that ends the process."""
        self.first_signal = self.first_signal or SIGNAL_NAMES[number]
        (self.hurry if self.stop.is_set() or self.is_ending else self.stop).set()
        self.given.set()

    def replaced(self) -> None:
        """A signal that has another process take our place."""
        if self.stop.is_set():
            self._logger.warning("Upgrade refused: the node is stopping")
            return
        if self.is_ending and self.successor is not None:
            self._logger.warning(
                "Upgrade refused: another process serves already", new_pid=self.successor.pid
            )
            return
        self.restart.set()
        self.given.set()

    def reloaded(self) -> None:
        """A signal that has the configuration read again."""
        if self.stop.is_set():
            self._logger.warning("configuration not reloaded: the node is stopping")
            return
        if self.is_ending:
            self.pass_reload_on()
            return
        self.is_reload_owed = self.successor is not None
        self.reload.set()

    def pass_reload_on(self) -> None:
        """Have the process that serves now read its configuration again."""
        assert self.successor is not None
        self.is_reload_owed = False
        self._logger.info("configuration reload passed on", new_pid=self.successor.pid)
        self.successor.send(signal.SIGHUP)


class Life:
    """One node in one process."""

    def __init__(
        self,
        node: Node,
        supervision: Supervision,
        orders: Orders,
        logger: Logger,
        *,
        open_files: int,  # the soft limit that a successor begins with
    ) -> None:
        self._serving = node.serving
        self._reloader = node.reloader
        self._supervision = supervision
        self._notifier = supervision.notifier
        self._predecessor = supervision.predecessor
        self._orders = orders
        self._logger = logger
        self._open_files = open_files
        self._pid_file = PidFile(os.environ)

    @property
    def _grace_seconds(self) -> float:
        """As the configuration says that is in force now."""
        return self._reloader.config.graceful_restart_timeout.total_seconds()

    def reloading(self, read: Read) -> AbstractAsyncContextManager[None]:
        """During the block, the configuration is read again whenever a signal says so."""
        return self._reloader.following(self._orders.reload, read, self._announced_reload)

    @contextmanager
    def _announced_reload(self) -> Iterator[None]:
        self._notifier.reloading("Reading the configuration again")
        try:
            yield
        finally:
            self._notifier.ready(self.status())

    async def begin(self) -> None:
        """Every listener answers: tell those who wait for it.

        Raises DoesNotAnswer, CannotWritePidFile, LostPredecessor.
        """
        try:
            await self._serving.require_answers()
            self._pid_file.write()
            if self._predecessor is not None:
                await self._predecessor.take_over(self._supervision.sockets.unwanted)
        except NodeError as error:
            if self._predecessor is not None:
                await self._give_back(self._predecessor, str(error))
            raise
        self._serving.adopt()
        self._notifier.ready(self.status())

    async def _give_back(self, predecessor: Predecessor, why: str) -> None:
        """Have the old process accept again; whoever has come to us meanwhile is served."""
        self._serving.pause()
        predecessor.failed(why)
        await self._serving.stop(GIVE_BACK_SECONDS, self._orders.hurry, is_passed_on=True)

    def status(self) -> str:
        """One line for `systemctl status`."""
        left = self._serving.remaining()
        if self._orders.stop.is_set():
            text = f"Stopping: {left.text('left')}"
        else:
            kinds = ", ".join(x.endpoint.kind for x in self._serving.listeners)
            text = f"Serving on {kinds}; {left.text('running')}"
        if self._predecessor is not None and self._predecessor.left:
            text += f"; process {self._predecessor.pid} before it: {self._predecessor.left}"
        return text

    async def run(self) -> bool:
        """Until the end, which is orderly if every call ended by itself: True."""
        answers = self._serving.answers
        async with (
            background(self._listen_to_predecessor()),
            background(beat(self._notifier, answers, self.status, self._logger)),
        ):
            while True:
                await self._orders.given.wait()
                self._orders.given.clear()
                if self._orders.stop.is_set():
                    return await self._stop()
                is_over = await self._restart()
                self._orders.restart.clear()
                if is_over is not None:
                    return is_over

    async def _listen_to_predecessor(self) -> None:
        if self._predecessor is not None:
            await self._predecessor.listen()
            self._logger.info(
                "the process before this one has ended", old_pid=self._predecessor.pid
            )

    async def _stop(self) -> bool:
        self._notifier.stopping(self.status())
        self._logger.info("[shutdown] stopping Gitaly", signal=self._orders.first_signal)
        deadline = time.monotonic() + self._grace_seconds
        async with background(self._every_second(self._show_status)):
            with self._grace(f'received signal "{self._orders.first_signal}"') as clean:
                clean.append(await self._serving.stop(self._grace_seconds, self._orders.hurry))
            await self._wait_for_predecessor(deadline)
        return clean[0]

    async def _show_status(self) -> None:
        self._notifier.status(self.status())

    async def _wait_for_predecessor(self, deadline: float) -> None:
        """Our end is the end of the service: systemd kills what is left of it then."""
        if self._predecessor is None or self._predecessor.is_gone.is_set():
            return
        async with (
            background(self._orders.hurry.wait()) as hurried,
            background(self._predecessor.is_gone.wait()) as gone,
        ):
            await asyncio.wait(
                {hurried, gone},
                timeout=max(0, deadline - time.monotonic()),
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def _restart(self) -> bool | None:
        """Have another process take our place; None: it could not, and we go on."""
        if self._predecessor is not None and not self._predecessor.is_gone.is_set():
            self._logger.warning(
                "Upgrade refused: the last one is not over",
                old_pid=self._predecessor.pid,
                left=self._predecessor.left,
            )
            return None
        self._notifier.status("Starting the process that takes over")
        successor = Successor(self._supervision.successor_program(), self._open_files)
        self._orders.successor, self._orders.is_reload_owed = successor, False
        try:
            async with successor:
                self._logger.info("[graceful upgrade] starting new Gitaly", new_pid=successor.pid)
                await self._unless_stopped(self._replace(successor))
                return await self._leave(successor)
        except NotReplaced as error:
            self._orders.successor = None
            self._go_on(str(error))
        return None

    async def _unless_stopped(self, replacing: Awaitable[None]) -> None:
        async def replace() -> None:
            await replacing

        async with background(replace()) as work, background(self._orders.stop.wait()) as stopped:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise NotReplaced("the node was told to stop meanwhile")
            work.result()

    async def _replace(self, successor: Successor) -> None:
        try:
            async with asyncio.timeout(self._grace_seconds):
                await successor.prepare(self._serving.sockets())
                self._serving.pause()
                async with asyncio.timeout(TURN_SECONDS):
                    await successor.take_turn()
        except TimeoutError as error:
            raise NotReplaced(
                f"process {successor.pid} did not serve in time"
                f" (graceful_restart_timeout is {self._grace_seconds:g} s)"
            ) from error

    def _go_on(self, why: str) -> None:
        self._serving.resume()
        self._logger.error("Upgrade failed", error=why, note="this process serves as before")
        try:
            self._pid_file.write()  # the other one may have been there
        except CannotWritePidFile as error:
            self._logger.error("the pid file cannot be written", error=str(error))
        self._notifier.ready(f"{self.status()}; the last upgrade failed: {why}")

    async def _leave(self, successor: Successor) -> bool:
        """Finish what runs here, while the other process serves."""
        self._orders.is_ending = True
        self._notifier.succeeded_by(successor.pid)
        self._logger.info("Upgrade succeeded", new_pid=successor.pid)
        self._logger.info("[graceful upgrade] stopping old Gitaly", new_pid=successor.pid)
        self._serving.give_up(successor.unwanted)
        self._pass_orders_on(successor)

        async def tell() -> None:
            await successor.tell(self._serving.remaining().text("left"))

        async with background(self._every_second(tell)):
            with self._grace("graceful upgrade") as clean:
                clean.append(
                    await self._serving.stop(
                        self._grace_seconds, self._orders.hurry, is_passed_on=True
                    )
                )
        if clean[0]:
            self._logger.info("[graceful upgrade] stopped old Gitaly")
        return clean[0]

    def _pass_orders_on(self, successor: Successor) -> None:
        """What was said to this process while the other one started was meant for the service."""
        if self._orders.is_reload_owed:
            self._orders.pass_reload_on()
        if self._orders.stop.is_set():
            successor.send(signal.SIGTERM)

    @contextmanager
    def _grace(self, why: str) -> Iterator[list[bool]]:
        """Log the beginning and the end of the time for what runs; `append` how it has ended."""
        self._logger.info("starting grace period", grace_seconds=self._grace_seconds)
        clean: list[bool] = []
        yield clean
        if not clean[0]:
            is_hurried = self._orders.hurry.is_set()
            how = "force shutdown" if is_hurried else "wait: grace period expired"
            self._logger.error("unclean Gitaly shutdown", error=f"{why}: {how}")

    async def _every_second(self, report: Callable[[], Awaitable[None]]) -> None:
        while True:
            await report()
            await asyncio.sleep(REPORT_SECONDS)
