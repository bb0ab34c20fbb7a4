"""How a child process comes to life: one small interface, so that cgroups can replace it."""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One program to start. The descriptors stay the caller's, who closes them afterwards."""

    argv: Sequence[str | bytes]  # argv[0] is the absolute path of the program
    env: Mapping[str, str]  # all of the child's environment
    stdin: int
    stdout: int
    stderr: int
    placement: str | None = None  # "<storage name>/<relative path>"; None: no repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Born:
    """A process that runs, leads its own process group, and must be reaped by us."""

    pid: int
    cgroup_path: str | None = None


class Spawner(Protocol):
    """Starts programs. The process must be a child of ours: its owner calls wait4() for it."""

    async def spawn(self, launch: Launch) -> Born:
        """Start it. Raises OSError if the program cannot be executed."""
        ...


class PosixSpawner:
    """Starts children with posix_spawn, in the control group of the node itself.

    posix_spawn is a vfork: 0.1 ms whatever the size of the node, and no fork handlers of gRPC run.
    CPython holds the GIL during it, so a thread would free nobody and cost a hop of 70 µs. Hence
    it runs on the event loop, which bounds it by itself: one child is born at a time.
    """

    async def spawn(self, launch: Launch) -> Born:
        """Start it. Raises OSError if the program cannot be executed."""
        return Born(pid=posix_spawn(launch))


def posix_spawn(launch: Launch) -> int:
    """Start the program in a process group of its own and return its pid. For any thread.

    Raises OSError, and ValueError for descriptors that the placing of others would overwrite.
    """
    standard = (launch.stdin, launch.stdout, launch.stderr)
    if any(fd < 3 and fd != place for place, fd in enumerate(standard)):
        raise ValueError("a standard descriptor of the node can only be passed on in its place")
    return os.posix_spawn(
        launch.argv[0],
        list(launch.argv),
        launch.env,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, place) for place, fd in enumerate(standard)],
        setpgroup=0,
        setsigmask=(),
        setsigdef=DEFAULTED_SIGNALS,
    )


def keep_inherited_descriptors() -> None:
    """Pass on to children nothing that the node got from its own parent. For its start.

    Python's own descriptors are not inheritable; those of a service manager or a shell are.
    """
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the descriptor of this listing is closed already
            if int(name) > 2:
                os.set_inheritable(int(name), False)
