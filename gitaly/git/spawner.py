"""How a child process comes to life: one small interface, so that cgroups can replace it."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from resource import RLIMIT_NOFILE, prlimit, struct_rusage
from typing import Final, Protocol

from gitaly.errors import NodeError, ResourceExhausted

# A child inherits what its parent ignores. CPython ignores the first two, and git must die of a
# closed pipe; whoever started the node may ignore the others.
DEFAULTED_SIGNALS: Final = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGCHLD,
)
# They compute for seconds. A small call, health among them, waits for a processor each time that it
# passes from one thread of the node to the next, while these have all of them. Where control groups
# divide the processors, they do it better.
BULKY: Final = frozenset(
    f"git {name}" for name in ("archive", "bundle", "pack-objects", "upload-archive", "upload-pack")
)
NICENESS: Final = 5  # a third of the node's own weight


class StoppedByLimit(ResourceExhausted):
    """The kernel has killed a process for want of memory. The message is for the end user too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One program to start. The descriptors stay the caller's, who closes them afterwards."""

    argv: Sequence[str | bytes]  # argv[0] is the absolute path of the program
    env: Mapping[str, str]  # all of the child's environment
    stdin: int
    stdout: int
    stderr: int
    placement: str | None = None  # "<storage name>/<relative path>"; None: no repository
    name: str = ""  # what people call it: "git upload-pack"
    # What it has started may outlive it, unless it was stopped. Only without a placement.
    spares_others: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """A process that has been reaped."""

    status: int  # as waitpid(2) reports it
    usage: struct_rusage


class Born(Protocol):
    """A process that runs and leads its own process group. Whoever started it also reaps it."""

    @property
    def pid(self) -> int: ...

    @property
    def cgroup_path(self) -> str | None:
        """Its control group, relative to where they are mounted."""

    def watch(self, ended: Callable[[End], None]) -> None:
        """Have the event loop call `ended` once: when it is reaped, and its group is killed."""

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started. Once it is reaped: nothing."""

    async def why(self, said: bytes, /) -> NodeError | None:
        """Why it ended badly, if that was not its own doing. `said`: its stderr.

        To be asked after an end that nobody here has brought about.
        """


class Spawner(Protocol):
    """Starts programs."""

    async def spawn(self, launch: Launch) -> Born:
        """Start it. Raises OSError if the program cannot be executed, NodeError if the spawner
        refuses. A caller that is cancelled leaves nothing behind."""
        ...


class PosixSpawner:
    """Starts children with posix_spawn, in the control group of the node itself.

    posix_spawn is a vfork: 0.1 ms whatever the size of the node, and no fork handlers of gRPC run.
    CPython holds the GIL during it, so a thread would free nobody and cost a hop of 70 µs. Hence
    it runs on the event loop, which bounds it by itself: one child is born at a time.
    """

    def __init__(self, open_files: int | None = None) -> None:
        """`open_files`: the children's soft limit; None: the node's."""
        self._open_files = open_files

    async def spawn(self, launch: Launch) -> Born:
        """Start it. Raises OSError if the program cannot be executed."""
        pid = posix_spawn(launch, self._open_files)
        if launch.name in BULKY:
            give_way(pid)
        return OwnChild(pid, spares_others=launch.spares_others)


class OwnChild:
    """A child of the node itself."""

    cgroup_path = None

    def __init__(self, pid: int, *, spares_others: bool = False) -> None:
        """Raises OSError if it cannot be watched; then it is gone."""
        self.pid = pid
        self._spares_others = spares_others
        self._is_reaped = False
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def watch(self, ended: Callable[[End], None]) -> None:
        """Call back when it has ended."""
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap, ended)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started."""
        self._spares_others = False  # whoever is signalled is being stopped
        if not self._is_reaped:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def why(self, _: bytes, /) -> NodeError | None:
        """Nothing bounds it but the machine."""
        return None

    def _reap(self, ended: Callable[[End], None]) -> None:
        # As long as the leader is a zombie nobody else can get its number, nor the group's.
        if not self._spares_others:
            self.signal_group(signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self._is_reaped = True
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        ended(End(status, usage))


def posix_spawn(launch: Launch, open_files: int | None = None) -> int:
    """Start the program in a process group of its own and return its pid. For any thread.

    `open_files`: its soft limit, which also what it starts will have.

    Raises OSError, and ValueError for descriptors that the placing of others would overwrite.
    """
    standard = (launch.stdin, launch.stdout, launch.stderr)
    if any(fd < 3 and fd != place for place, fd in enumerate(standard)):
        raise ValueError("a standard descriptor of the node can only be passed on in its place")
    pid = os.posix_spawn(
        launch.argv[0],
        list(launch.argv),
        launch.env,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, place) for place, fd in enumerate(standard)],
        setpgroup=0,
        setsigmask=(),
        setsigdef=DEFAULTED_SIGNALS,
    )
    if open_files is not None:
        limit_open_files(pid, open_files)
    return pid


def limit_open_files(pid: int, soft: int) -> None:
    """Set the soft limit of a child that has just been started; costs a microsecond or two."""
    with suppress(OSError, ValueError):  # it has ended already
        _, hard = prlimit(pid, RLIMIT_NOFILE)
        prlimit(pid, RLIMIT_NOFILE, (min(soft, hard), hard))


def give_way(pid: int) -> None:
    """Let the node go first where both want a processor, before what this process has started."""
    with suppress(OSError):  # it has ended already, or the node is as nice itself
        os.setpriority(os.PRIO_PGRP, pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)


def keep_inherited_descriptors() -> None:
    """Pass on to children nothing that the node got from its own parent. For its start.

    Python's own descriptors are not inheritable; those of a service manager or a shell are.
    """
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the descriptor of this listing is closed already
            if int(name) > 2:
                os.set_inheritable(int(name), False)
