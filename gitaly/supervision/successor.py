"""The elder process of a restart: starts the younger one, and goes on if that does not succeed."""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

from gitaly.errors import NodeError
from gitaly.git import limit_open_files
from gitaly.supervision import handover
from gitaly.supervision.inherited import Inherited
from gitaly.supervision.program import Program

DESCRIPTOR: Final = 3  # of the conversation, in the new process
END_SECONDS: Final = 5  # for one that is told to stop
# What Python ignores, and what we have handlers for.
DEFAULTED_SIGNALS: Final = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGINT,
    signal.SIGTERM,
)


class NotReplaced(NodeError):
    """The new process does not serve; the message says why. The old one may go on."""


class Successor:
    """A process that is to take this one's place. Use it in an `async with`: one that has not
    taken over by the end of the block is stopped."""

    def __init__(self, program: Program, open_files: int | None = None) -> None:
        """`open_files`: the soft limit that it starts with; None: ours."""
        self.pid = 0
        self.has_taken_over = False
        self.unwanted: set[tuple[str, str]] = set()  # listeners that it has not taken over
        self._program = program
        self._open_files = open_files
        self._talk: socket.socket | None = None
        self._pidfd = -1
        self._ended: asyncio.Future[int] | None = None  # its wait status

    async def __aenter__(self) -> Self:
        """Start it. Raises NotReplaced."""
        loop = asyncio.get_running_loop()
        self._talk, theirs = handover.conversation()
        self._talk.setblocking(False)
        self._ended = loop.create_future()
        try:
            self.pid = self._spawn(theirs.fileno())
            self._pidfd = self._watched(self.pid)
        except OSError as error:
            self._talk.close()
            command = " ".join(self._program.arguments)
            raise NotReplaced(f"{command} cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
        loop.add_reader(self._pidfd, self._reap)
        return self

    def _spawn(self, descriptor: int) -> int:
        variables = dict(self._program.environment)
        variables[handover.VARIABLE] = str(DESCRIPTOR)
        pid = os.posix_spawn(
            self._program.arguments[0],
            list(self._program.arguments),
            variables,
            file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, DESCRIPTOR)],
            setsigmask=(),
            setsigdef=DEFAULTED_SIGNALS,
        )
        if self._open_files is not None:
            limit_open_files(pid, self._open_files)
        return pid

    def _watched(self, pid: int) -> int:
        try:
            return os.pidfd_open(pid)
        except OSError:  # no descriptor is left
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        self._pidfd = -1
        assert self._ended is not None
        self._ended.set_result(status)

    async def prepare(self, sockets: Sequence[Inherited]) -> None:
        """Pass the sockets on and come back when it is ready to accept. Raises NotReplaced."""
        described = [
            {"kind": x.kind, "configured": x.configured, "name": x.name, "is_kept": x.is_kept}
            for x in sockets
        ]
        hello = handover.encoded(version=handover.VERSION, pid=os.getpid(), listeners=described)
        assert self._talk is not None
        with suppress(ConnectionError):  # it has ended already; why is asked below
            socket.send_fds(self._talk, [hello], [x.socket.fileno() for x in sockets])
        await self._await_state(handover.READY)

    async def take_turn(self) -> None:
        """Let it accept; come back when every listener of it answers. Raises NotReplaced."""
        await self._say(state=handover.ACCEPT)
        message = await self._await_state(handover.SERVING)
        self.has_taken_over = True
        with suppress(ValueError, TypeError):  # another version, with other ideas
            self.unwanted = {(str(x), str(y)) for x, y in message.get("unwanted", ())}

    async def tell(self, text: str) -> None:
        """What is still left to do here."""
        await self._say(state=handover.LEFT, text=text)

    async def _say(self, **message: object) -> None:
        assert self._talk is not None
        with suppress(ConnectionError):  # whoever waits for its answer will hear that it has ended
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(self._talk, handover.encoded(**message))

    async def _await_state(self, state: str) -> handover.Message:
        while True:
            message = await self._hear()
            if message.get("state") == handover.FAILED:
                raise NotReplaced(f"process {self.pid}: {message.get('error')}")
            if not message:
                raise NotReplaced(await self._obituary())
            if message.get("state") == state:
                return message

    async def _hear(self) -> handover.Message:
        assert self._talk is not None
        loop = asyncio.get_running_loop()
        try:
            packet = await loop.sock_recv(self._talk, handover.PACKET_BYTES)
            return handover.decoded(packet) if packet else {}
        except ConnectionError:
            return {}
        except handover.Misunderstood as error:
            raise NotReplaced(f"process {self.pid} cannot be understood: {error}") from error

    async def _obituary(self) -> str:
        assert self._ended is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                status = os.waitstatus_to_exitcode(await asyncio.shield(self._ended))
                how = f"with status {status}"
                if status < 0:
                    how = f"by {signal.Signals(-status).name}"
                return f"process {self.pid} ended {how} before it served"
        return f"process {self.pid} hung up before it served"

    async def __aexit__(self, *_: object) -> None:
        assert self._talk is not None
        assert self._ended is not None
        if self.has_taken_over:
            # The other end sees us gone when we are: with the process, and not before it has put
            # its things in order.
            self._talk.detach()
        else:
            await self._stop(self._ended)
            self._talk.close()
        if self._pidfd >= 0:  # it is its own now
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)

    async def _stop(self, ended: "asyncio.Future[int]") -> None:
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_SECONDS):
                await asyncio.shield(ended)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await ended

    def send(self, number: signal.Signals) -> None:
        """A signal, if the process still runs."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
