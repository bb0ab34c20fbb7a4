"""One hook program while it runs, from the node's side."""

import asyncio
import os
import socket
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from gitaly.errors import Cancelled
from gitaly.git import PipeReader
from gitaly.git.pipes import enlarge_pipe
from gitaly.hooks import wire
from gitaly.hooks.payload import VARIABLE, Payload

RECEIVE_BYTES: Final = 256 * 1024
TAKE_BYTES: Final = 1 << 20
STREAMS: Final = 3
RIGHTS_BYTES: Final = socket.CMSG_LEN(STREAMS * 4)
MOST_WRITE_BYTES: Final = 1 << 20  # of one instruction: the program holds it in memory


class HookGone(Cancelled):
    """The hook program has ended, or was killed: git no longer waits for it."""

    def __init__(self) -> None:
        super().__init__("the hook program is gone")


class HookRun:
    """A hook program that waits for us: how it was called, and what it can be told to do.

    It does one thing after the other. The descriptors are closed with `close`.
    """

    def __init__(self, session: "Session", hello: wire.Hello, descriptors: Sequence[int]) -> None:
        self._session = session
        self.program = os.path.basename(hello.arguments[0])  # the hook's name, or gitaly-hooks
        self.arguments: Sequence[bytes] = hello.arguments[1:]
        self.environment: Mapping[bytes, bytes] = hello.environment  # all of it
        stdin, self.stdout, self.stderr = descriptors
        self.stdin = PipeReader(stdin)  # at its end: the end of what git says

    @property
    def gone(self) -> asyncio.Event:
        """Set when the program has vanished."""
        return self._session.gone

    def payload(self) -> Payload:
        """What the node that started git wrote for its hooks. Raises BadPayload."""
        return Payload.decode(self.environment.get(VARIABLE.encode()))

    @property
    def correlation_id(self) -> str:
        """Of the call that git works for."""
        return self.environment.get(b"CORRELATION_ID", b"").decode(errors="replace")

    async def use_file(self, descriptor: int) -> None:
        """The file of the following copies; the program gets a descriptor of its own."""
        await self._session.send(wire.file(), descriptor)

    async def copy(self, start: int, end: int) -> wire.Report:
        """Let the program copy from the file to its stdout; back when it has. Raises HookGone."""
        return await self._session.ask(wire.copy(start, end))

    async def write_stdout(self, data: bytes) -> wire.Report:
        """Let the program write; back when it has, or at the first error. Raises HookGone."""
        report = wire.Report(0)
        for start in range(0, len(data), MOST_WRITE_BYTES):
            piece = data[start : start + MOST_WRITE_BYTES]
            done = await self._session.ask(wire.write(wire.STDOUT, piece))
            report = wire.Report(report.moved + done.moved, done.error)
            if done.error:
                break
        return report

    async def write_stderr(self, data: bytes) -> None:
        """Let the program write, after what it was told before. Raises HookGone."""
        for start in range(0, len(data), MOST_WRITE_BYTES):
            piece = data[start : start + MOST_WRITE_BYTES]
            await self._session.send(wire.write(wire.STDERR, piece))

    async def take(self, source: PipeReader) -> int:
        """Move what comes out of a pipe to the program's stdout, which must be a pipe as well.

        At least a byte; 0 at the end of the pipe. The program must not be copying at the same
        time. Raises HookGone if git reads no more.
        """
        while True:
            try:
                return os.splice(source.fd, self.stdout, TAKE_BYTES, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                await source.readable()
            except BrokenPipeError as error:
                raise HookGone from error
            await self._session.writable(self.stdout)

    def enlarge(self) -> None:
        """Make room for 1 MiB between the program and git, if the kernel lets us."""
        enlarge_pipe(self.stdout)

    def close(self) -> None:
        """Give the descriptors back: git sees the end of its output when the program has ended."""
        self.stdin.close()
        self.close_outputs()

    def close_outputs(self) -> None:
        """Leave stdout and stderr to the program alone; for who only tells it what to do."""
        for name in ("stdout", "stderr"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)


class Session:
    """The connection of one hook program."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.gone = asyncio.Event()
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._decoder = wire.Decoder()
        self._descriptors: list[int] = []
        self._hello: asyncio.Future[wire.Hello] = self._loop.create_future()
        self._reports: deque[asyncio.Future[wire.Report]] = deque()
        self._sending = asyncio.Lock()
        self._wakes: set[asyncio.Event] = set()
        self._descriptor = connected.fileno()
        self._loop.add_reader(connected.fileno(), self._readable)

    async def greeted(self) -> HookRun:
        """The program has said how it was called. Raises HookGone, wire.HookProtocolError."""
        hello = await self._hello
        if len(self._descriptors) != STREAMS:
            raise wire.HookProtocolError("a hook program without its three streams")
        run = HookRun(self, hello, self._descriptors)
        self._descriptors = []
        return run

    async def send(self, data: bytes, descriptor: int | None = None) -> None:
        """One instruction. Raises HookGone."""
        async with self._sending:
            try:
                sent = 0
                if descriptor is not None:
                    sent = await self._send_with(data, descriptor)
                else:
                    with suppress(BlockingIOError, InterruptedError):
                        sent = self._socket.send(data)
                if sent < len(data):
                    await self._loop.sock_sendall(self._socket, data[sent:])
            except OSError as error:
                self._lose()
                raise HookGone from error

    async def ask(self, instruction: bytes) -> wire.Report:
        """One instruction, and what the program reports of it. Raises HookGone."""
        report: asyncio.Future[wire.Report] = self._loop.create_future()
        self._reports.append(report)
        await self.send(instruction)
        if self.gone.is_set():
            raise HookGone
        return await report

    async def _send_with(self, data: bytes, descriptor: int) -> int:
        while True:
            try:
                return socket.send_fds(self._socket, [data], [descriptor])
            except (BlockingIOError, InterruptedError):
                await self.writable(self._socket.fileno())

    async def writable(self, descriptor: int) -> None:
        """Wait until a descriptor takes something. Raises HookGone."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        self._loop.add_writer(descriptor, wake.set)
        try:
            await wake.wait()
        finally:
            self._wakes.discard(wake)
            if not self.gone.is_set() or descriptor != self._descriptor:
                self._loop.remove_writer(descriptor)
        if self.gone.is_set():
            raise HookGone

    async def end(self, status: int) -> None:
        """Tell the program to end. Raises HookGone."""
        await self.send(wire.end(status))

    def drop(self) -> None:
        """Forget the program, which fails if it was not told to end."""
        self._lose()

    def _readable(self) -> None:
        try:
            # Not socket.recv_fds, which ignores its flags: whatever is born here while the program
            # waits, and lives longer, would keep git from ever seeing the end of its output.
            data, ancillary, _, _ = self._socket.recvmsg(
                RECEIVE_BYTES, RIGHTS_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lose()
            return
        for _, _, rights in ancillary:
            self._descriptors += array("i", rights)
        if not data:
            self._lose()
            return
        try:
            for event in self._decoder.receive(data):
                self._heard(event)
        except wire.HookProtocolError as error:
            if not self._hello.done():
                self._hello.set_exception(error)
            self._lose()

    def _heard(self, event: wire.Hello | wire.Report) -> None:
        if isinstance(event, wire.Hello):
            self._hello.set_result(event)
            return
        if not self._reports:
            raise wire.HookProtocolError("a report that nobody asked for")
        report = self._reports.popleft()
        if not report.done():  # else its asker was cancelled
            report.set_result(event)

    def _lose(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self.gone.set()
        for wake in self._wakes:
            wake.set()
        while self._descriptors:
            os.close(self._descriptors.pop())
        waiters: list[asyncio.Future[Any]] = [self._hello, *self._reports]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(HookGone())
                waiter.exception()  # seen: perhaps nobody waits any more
        self._reports.clear()
