"""The descriptors that git gives us: pipes as a rule, sockets or files now and then.

They may be shared with other processes, so their flags are not ours to change: a pipe is opened
once more to be written without blocking, a socket is told so with each message.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import socket
import stat
from collections.abc import Sequence
from typing import Final

Buffer = bytes | memoryview

PIPE_BYTES: Final = 1024 * 1024
# A full pipe has room again as soon as one page of it is read. Waiting a little longer saves the
# wake-ups, and a large pipe does not run empty in that time.
PAUSE_SECONDS: Final = 0.0005
MOST_BUFFERS: Final = 512  # of one writev; the kernel's limit is 1024


class OutputClosed(Exception):
    """Whoever read our output is gone."""


class Input:
    """Reads what is there, without reading ahead of who asks."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _enlarge(fd)

    async def read(self, size: int) -> bytes:
        """At most `size` bytes; b"" at the end. Raises OSError."""
        while True:
            await self._readable()
            with contextlib.suppress(BlockingIOError):
                return os.read(self._fd, size)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        try:
            loop.add_reader(self._fd, _resolve, ready)
        except PermissionError:  # a file: it never makes anybody wait
            return
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)


class Output:
    """Writes as fast as the other side reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._owned: list[int] = []
        self._pause_seconds = 0.0
        self._socket: socket.socket | None = None
        kind = os.fstat(fd).st_mode
        if stat.S_ISSOCK(kind):
            self._socket = socket.socket(fileno=os.dup(fd))
        elif stat.S_ISFIFO(kind):
            if _enlarge(fd):
                self._pause_seconds = PAUSE_SECONDS
            with contextlib.suppress(OSError):  # no /proc: writing blocks, as with a file
                self._fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
                self._owned.append(self._fd)

    async def write(self, buffers: Sequence[Buffer]) -> None:
        """All of it. Raises OutputClosed; OSError for a full disk."""
        waiting = [memoryview(buffer) for buffer in buffers if buffer]
        while waiting:
            try:
                sent = self._send(waiting[:MOST_BUFFERS])
            except BlockingIOError:
                await self._writable()
                continue
            except (BrokenPipeError, ConnectionResetError) as error:
                raise OutputClosed from error
            waiting = _rest(waiting, sent)

    def close(self) -> None:
        """Give back what was opened here; the descriptor itself stays open."""
        if self._socket is not None:
            self._socket.close()
        for fd in self._owned:
            os.close(fd)

    def _send(self, buffers: Sequence[memoryview]) -> int:
        if self._socket is not None:
            return self._socket.sendmsg(buffers, (), socket.MSG_DONTWAIT)
        return os.writev(self._fd, buffers)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(self._fd, _resolve, ready)
        try:
            await ready
        finally:
            loop.remove_writer(self._fd)
        await asyncio.sleep(self._pause_seconds)


def write_all(fd: int, data: Buffer) -> None:
    """For threads: write and wait. Raises OutputClosed."""
    waiting = memoryview(data)
    while waiting:
        try:
            waiting = waiting[os.write(fd, waiting) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise OutputClosed from error


class BlockingInput:
    """For threads: reads, and lets itself be interrupted."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        _enlarge(fd)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; b"" at the end, and after `interrupt`. Raises OSError."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._stop in ready:
                return b""
            with contextlib.suppress(BlockingIOError):
                return os.read(self._fd, size)

    def interrupt(self) -> None:
        """Let the reader see the end."""
        os.eventfd_write(self._stop, 1)


def _enlarge(fd: int) -> bool:
    """Whether it is a large pipe now."""
    with contextlib.suppress(OSError):  # not a pipe, or the user has too many large ones
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < PIPE_BYTES:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return True
    return False


def _rest(buffers: list[memoryview], sent: int) -> list[memoryview]:
    """What is left of some buffers after their first bytes."""
    for number, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [buffer[sent:], *buffers[number + 1 :]]
        sent -= len(buffer)
    return []


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
