"""The node's side of one spawner process: packets to it and from it. See spawner_program."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from resource import struct_rusage
from typing import Final

from gitaly.cgroups import spawner_program
from gitaly.cgroups.groups import Group
from gitaly.git import End, Launch, OwnChild, posix_spawn

USAGE_FIELDS: Final = 16
PACKET_BYTES: Final = 4096
Done = Callable[["Descendant | Exception"], None]
RIGHT_BYTES: Final = socket.CMSG_SPACE(4)


class GroupClosed(Exception):
    """The spawner could not get into the group; `errno` says why."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class SpawnerLost(Exception):
    """The spawner process has died under a request."""


class Descendant:
    """A process that a spawner has started, while it lives."""

    def __init__(self, pid: int, pidfd: int | None, group: Group) -> None:
        self.pid = pid
        self.group = group
        self.kills = (-1, -1)  # of the kernel in its group: before its birth, after its end
        self.is_orphan = False  # its spawner has died
        self._pidfd = pidfd  # None: the node had no descriptor left for it
        self._is_over = False
        self._end: End | None = None
        self._ended: Callable[[End], None] | None = None
        self._gone: Callable[[Descendant], None] = lambda _: None

    def watch(self, ended: Callable[[End], None]) -> None:
        """Call back when it has been reaped."""
        self._ended = ended
        if self._end is not None:
            asyncio.get_running_loop().call_soon(ended, self._end)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to its process group.

        The spawner may have reaped it already, and told us in a packet that we have not read. So
        the pidfd is asked first, which cannot mean anybody else.
        """
        if self._is_over:
            return
        with suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, 0)
            os.killpg(self.pid, number)

    def over(self, end: End) -> None:
        """It has been reaped."""
        self._is_over = True
        self._end = end
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._ended is not None:
            self._ended(end)

    def orphaned(self, gone: Callable[["Descendant"], None]) -> None:
        """Nobody is left who could say how it ends: end it, and call `gone` then."""
        self.is_orphan = True
        self._gone = gone
        self.signal_group(signal.SIGKILL)
        if self._pidfd is None:
            self._end_unseen()
        else:
            asyncio.get_running_loop().add_reader(self._pidfd, self._end_unseen)

    def _end_unseen(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
        with suppress(ChildProcessError):  # ours only if we are the init process of a container
            os.waitpid(self.pid, os.WNOHANG)
        self.over(End(signal.SIGKILL, struct_rusage([0] * USAGE_FIELDS)))
        self._gone(self)


class SpawnerProcess:
    """One of them: takes one request at a time, and watches over what it has started."""

    def __init__(
        self,
        homes: tuple[str, ...],
        *,
        reaped: Callable[["SpawnerProcess", Descendant], None],
        lost: Callable[["SpawnerProcess"], None],
        open_files: int | None = None,
    ) -> None:
        """Starts it; it is ready after 10 ms, and may be given work before. Raises OSError."""
        self._reaped = reaped
        self._lost = lost
        self._birth: Done | None = None  # whom to tell how the birth under way has ended
        self._group: Group | None = None
        self._children: dict[int, Descendant] = {}
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.setblocking(False)
            self._process = _start(theirs.fileno(), homes, open_files)
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._is_running = True
        self._orphans: set[Descendant] = set()
        self._process.watch(self._ended)
        self._loop.add_reader(self._socket.fileno(), self._read)

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, launch: Launch, group: Group, done: Done) -> None:
        """Have a program started in a group, and `done` called once, never from here.

        It may get an OSError (of the program), GroupClosed or SpawnerLost. What is sent is sent
        at once: the descriptors may be closed when this returns.
        """
        self._birth = done
        self._group = group
        request = spawner_program.encode(
            group.doors,
            group.kill_counter,
            group.precedence,
            [os.fsencode(word) for word in launch.argv],
            {os.fsencode(name): os.fsencode(value) for name, value in launch.env.items()},
        )
        try:
            self._send(request, [launch.stdin, launch.stdout, launch.stderr])
        except ConnectionError:
            self._loop.call_soon(self._end)
        except OSError as error:
            self._loop.call_soon(self._fail, error)

    def close(self) -> None:
        """Let it end; what it has started is killed. `gone` tells when all that is over."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._fail(SpawnerLost())
        self._orphans, self._children = set(self._children.values()), {}
        for child in list(self._orphans):
            child.orphaned(self._forget)

    def _ended(self, _: End) -> None:
        self._is_running = False
        self._tell_whether_gone()

    def _forget(self, orphan: Descendant) -> None:
        self._orphans.discard(orphan)
        self._tell_whether_gone()

    def _tell_whether_gone(self) -> None:
        if not self._is_running and not self._orphans and not self.gone.done():
            self.gone.set_result(None)

    def _send(self, request: bytes, fds: list[int]) -> None:
        if len(request) <= spawner_program.PACKET_BYTES:
            socket.send_fds(self._socket, [request], fds)
            return
        memory = os.memfd_create("request")
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(request)
            socket.send_fds(self._socket, [spawner_program.LONG], [*fds, memory])
        finally:
            os.close(memory)

    def _read(self) -> None:
        """One packet: there is seldom a second, and if there is the loop calls again."""
        try:
            packet, ancillary, _, _ = self._socket.recvmsg(
                PACKET_BYTES, RIGHT_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except ConnectionError:
            packet, ancillary = b"", []
        kind = packet[:1]
        if kind == b"E":
            self._died(packet)
        elif kind == b"B":
            self._born(int(packet[1:]), [data for _, _, data in ancillary])
        elif kind == b"G":
            self._fail(GroupClosed(int(packet[1:])))
        elif kind == b"F":
            number = int(packet[1:])
            self._fail(OSError(number, os.strerror(number)))
        else:
            self._end()

    def _born(self, pid: int, rights: list[bytes]) -> None:
        assert self._birth is not None
        assert self._group is not None
        pidfd = int.from_bytes(rights[0], sys.byteorder) if rights else None
        child = self._children[pid] = Descendant(pid, pidfd, self._group)
        done, self._birth = self._birth, None
        done(child)

    def _died(self, packet: bytes) -> None:
        pid, status, before, after, usage = spawner_program.decode_end(packet)
        child = self._children.pop(pid)
        child.kills = (before, after)
        child.over(End(status, struct_rusage(usage)))
        self._reaped(self, child)

    def _fail(self, error: Exception) -> None:
        if self._birth is not None:
            done, self._birth = self._birth, None
            done(error)

    def _end(self) -> None:
        self._lost(self)
        self.close()


def _start(fd: int, homes: tuple[str, ...], open_files: int | None) -> OwnChild:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        return OwnChild(
            posix_spawn(
                Launch(
                    argv=[sys.executable, "-I", "-S", spawner_program.__file__, *homes],
                    env={},
                    stdin=fd,
                    stdout=nowhere,
                    stderr=nowhere,
                ),
                open_files,
            )
        )
    finally:
        os.close(nowhere)
