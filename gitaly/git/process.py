"""Running children: started, watched, reaped, and stopped with everything they have started.

No task watches a child: the event loop does, by callbacks, so that a call which is cancelled
twice or a loop full of work cannot leave one behind.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from resource import struct_rusage
from typing import Final, Protocol

from gitaly.errors import Internal, NodeError
from gitaly.git.account import Account, current_account
from gitaly.git.error_text import ErrorText
from gitaly.git.exit_status import Exit
from gitaly.git.os_errors import reason
from gitaly.git.pipes import PIECE_BYTES, PipeReader, PipeWriter
from gitaly.git.spawner import Born, End, Launch, Spawner
from gitaly.git.stdio import DEVNULL, PIPE, ChildEnds, Target

GRACE_SECONDS: Final = 5.0  # from SIGTERM, which lets git remove its lock files, to SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLabel:
    """Under which name a command is counted."""

    grpc_service: str
    grpc_method: str
    cmd: str  # "git", or the base name of another program
    subcmd: str = ""
    reference_backend: str = ""  # "files", "reftable"; empty: no repository


class CommandMetrics(Protocol):
    """Who counts commands."""

    def started(self, label: CommandLabel, forking_seconds: float) -> None:
        """A child runs; starting it took that long."""

    def finished(self, label: CommandLabel, usage: struct_rusage, real_seconds: float) -> None:
        """It has been reaped."""

    def refused(self, subcommand: str) -> None:
        """A git command was not run because of its arguments."""


class Child:
    """A running program, leader of its own process group."""

    def __init__(
        self,
        born: Born,
        ends: ChildEnds,
        name: str,  # "git upload-pack"
        finished: Callable[[struct_rusage], None],
    ) -> None:
        self.pid = born.pid
        self.name = name
        self.started = time.monotonic()
        self.cgroup_path = born.cgroup_path
        self.heard = ErrorText()  # the beginning of stderr; fed by whoever reads it if it is a PIPE
        self.stdin: PipeWriter | None = ends.stdin
        self.stdout: PipeReader | None = ends.stdout
        self.stderr: PipeReader | None = ends.stderr  # only if stderr=PIPE was asked for
        self._born = born
        self._error_fd = ends.error_text
        self._finished = finished
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[Exit] = self._loop.create_future()
        self._kill_timer: asyncio.TimerHandle | None = None
        self._patience_timer: asyncio.TimerHandle | None = None
        self._is_stopped = False
        born.watch(self._ended)
        if self._error_fd is not None:
            self._loop.add_reader(self._error_fd, self._read_error_text)

    @property
    def exit(self) -> Exit | None:
        """How it ended; None while it runs."""
        return self._exit.result() if self._exit.done() else None

    @property
    def error_text(self) -> bytes:
        """The beginning of its stderr, at most 10000 bytes; complete once it has ended."""
        return self.heard.value()

    async def wait(self) -> Exit:
        """Wait for its end. Output that nobody reads makes it wait for us: read first."""
        return await asyncio.shield(self._exit)

    async def pause(self, seconds: float) -> None:
        """Let it work for a while, at most until its end."""
        await asyncio.wait((self._exit,), timeout=seconds)

    def close_pipes(self) -> None:
        """Close our ends; a child that still writes dies of it."""
        for end in (self.stdin, self.stdout, self.stderr):
            if end is not None:
                end.close()

    def hang_up(self, grace_seconds: float) -> None:
        """End its input and take its output to nowhere; stop it if it lives on. Doesn't wait.

        git receive-pack then removes its quarantine. After a signal it does not, since git 2.38:
        the handler must not allocate memory. Source: git, tmp-objdir.c.
        """
        if self._exit.done() or self._kill_timer is not None or self._patience_timer is not None:
            return
        self._is_stopped = True
        if self.stdin is not None:
            self.stdin.close()
        for end in (self.stdout, self.stderr):
            if end is not None and not end.is_closed:
                self._loop.add_reader(end.fd, _discard, end)
        self._patience_timer = self._loop.call_later(grace_seconds, self.stop, grace_seconds)

    def stop(self, grace_seconds: float) -> None:
        """Close our ends, SIGTERM to the group, SIGKILL after the grace. Doesn't wait."""
        self.close_pipes()
        if self._exit.done() or self._kill_timer is not None:
            return
        self._is_stopped = True
        self.signal_group(signal.SIGTERM)
        self._kill_timer = self._loop.call_later(grace_seconds, self.signal_group, signal.SIGKILL)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the child and to what it has started. After its end: nothing."""
        self._born.signal_group(number)

    async def why(self) -> NodeError | None:
        """Why it failed, if neither we nor it brought that about: the limit of its cgroup, say."""
        ended = await self.wait()
        return None if ended or self._is_stopped else await self._born.why(self.error_text)

    def _ended(self, end: End) -> None:
        for timer in (self._kill_timer, self._patience_timer):
            if timer is not None:
                timer.cancel()
        self._finish_error_text()
        self._exit.set_result(Exit.of_wait_status(end.status))
        self._finished(end.usage)

    def _read_error_text(self) -> bool:
        """Take one piece; False: there is none at the moment, or never again."""
        assert self._error_fd is not None
        try:
            piece = os.read(self._error_fd, PIECE_BYTES)
        except BlockingIOError:
            return False
        self.heard.feed(piece)
        if not piece:
            self._close_error_text()
        return bool(piece)

    def _finish_error_text(self) -> None:
        # Not until the end of the pipe: a daemon that left the group may hold it for ever.
        for _ in range(16):
            if self._error_fd is None or not self._read_error_text():
                break
        self._close_error_text()

    def _close_error_text(self) -> None:
        if self._error_fd is not None:
            self._loop.remove_reader(self._error_fd)
            os.close(self._error_fd)
            self._error_fd = None


def _discard(end: PipeReader) -> None:
    with suppress(BlockingIOError):
        if not os.read(end.fd, PIECE_BYTES):
            end.close()


class Processes:
    """Starts children and knows those that run."""

    def __init__(
        self, spawner: Spawner, metrics: CommandMetrics, *, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._spawner = spawner
        self.metrics = metrics
        self._grace_seconds = grace_seconds
        self._running: set[Child] = set()

    @asynccontextmanager
    async def run(
        self,
        argv: Sequence[str | bytes],
        env: Mapping[str, str],
        *,
        cmd: str,
        subcmd: str = "",
        reference_backend: str = "",
        placement: str | None = None,
        stdin: Target = DEVNULL,
        stdout: Target = PIPE,
        stderr: Target | None = None,
        hangs_up: bool = False,
        spares_others: bool = False,
    ) -> AsyncIterator[Child]:
        """A child for the length of the block; leaving the block before its end stops it.

        `hangs_up`: stop it by the end of its input first, because it has something to clean up.
        `spares_others`: what it has started may outlive it, unless it had to be stopped.

        `stdin`, `stdout`, `stderr`: DEVNULL, PIPE, or a descriptor that stays the caller's.
        `stderr` None: its beginning is kept as `error_text`. `argv[0]` is an absolute path.
        Raises Internal if the program cannot be started, and at the end of the block, in place of
        what the block says of it, the reason for which somebody else has ended it.
        """
        account = current_account()
        label = CommandLabel(
            grpc_service=account.grpc_service,
            grpc_method=account.grpc_method,
            cmd=cmd,
            subcmd=subcmd,
            reference_backend=reference_backend,
        )
        with ChildEnds(stdin, stdout, stderr) as ends:
            launch = Launch(
                argv=argv,
                env=env,
                stdin=ends.child_stdin,
                stdout=ends.child_stdout,
                stderr=ends.child_stderr,
                placement=placement,
                name=f"{cmd} {subcmd}".rstrip(),
                spares_others=spares_others,
            )
            child = await self._start(launch, ends, label, account)
        failure = None
        try:
            yield child
        except NodeError as error:
            failure = error
        finally:
            if hangs_up:
                child.hang_up(self._grace_seconds)
            else:
                child.stop(self._grace_seconds)
            await child.wait()
            child.close_pipes()
        failure = await child.why() or failure
        if failure is not None:
            raise failure

    async def _start(
        self,
        launch: Launch,
        ends: ChildEnds,
        label: CommandLabel,
        account: Account,
    ) -> Child:
        started = time.monotonic()
        try:
            born = await self._spawner.spawn(launch)
        except OSError as error:
            raise Internal(f"starting {label.cmd}: {reason(error)}") from error

        def finished(usage: struct_rusage) -> None:
            real_seconds = time.monotonic() - started
            self._running.discard(child)
            account.groups.discard(child.pid)
            account.add(usage, real_seconds)
            self.metrics.finished(label, usage, real_seconds)

        child = Child(born, ends, launch.name, finished)
        self._running.add(child)
        account.groups.add(child.pid)
        account.cgroup_path = born.cgroup_path or account.cgroup_path
        self.metrics.started(label, time.monotonic() - started)
        return child

    def running(self) -> set[Child]:
        """Those that run now, for any thread."""
        return self._running.copy()

    async def aclose(self) -> None:
        """Stop what still runs and wait until it is gone; for the end of the node."""
        for child in list(self._running):
            child.stop(self._grace_seconds)
        for child in list(self._running):
            await child.wait()
