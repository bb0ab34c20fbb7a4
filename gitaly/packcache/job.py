"""One git pack-objects, once there is a place for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from gitaly.errors import Internal, NodeError, ResourceExhausted
from gitaly.git import PIPE, Child, Exit, Git, PipeReader, current_account, go_quoted
from gitaly.limits import LeftQueue, Refused
from gitaly.packcache.request import Limiter, PackRequest
from gitaly.packcache.trace import Trace
from gitaly.streamcache import Blocking, Sayer, hear
from gitaly.tasks import background


class PackFailed(Internal):
    """Git has ended badly, and has said why."""

    def __init__(self, stderr: bytes, ended: Exit) -> None:
        super().__init__(f"git-pack-objects: stderr: {go_quoted(stderr)} err: {ended}")


class PackJob:
    """Computes one pack. It is a `streamcache.Job`."""

    def __init__(
        self,
        request: PackRequest,
        *,
        git: Git,
        limiter: Limiter,
        blocking: Blocking,
        trace_directory: str,
    ) -> None:
        self._request = request
        self._git = git
        self._limiter = limiter
        self._blocking = blocking
        self._trace_directory = trace_directory

    @asynccontextmanager
    async def running(self, sayer: Sayer, _: Callable[[], None]) -> AsyncIterator["PackWork"]:
        """As `Job.running`. Raises a limiter's refusals, too."""
        request, command = self._request, self._request.command
        async with AsyncExitStack() as stack:
            await self._take_slot(stack)
            trace = await self._trace(stack)
            child = await stack.enter_async_context(
                self._git.run(
                    "pack-objects",
                    repository=request.repository,
                    global_flags=["--shallow-file", ""] if command.has_shallow_file else [],
                    flags=["--stdout", *command.flags],
                    env=trace.environment(current_account().correlation_id),
                    stdin=PIPE,
                    stderr=PIPE,
                )
            )
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.feed(request.stdin)
            child.stdout.enlarge()
            listening = background(hear(child, sayer.say))
            yield PackWork(
                child,
                child.stdout,
                await stack.enter_async_context(listening),
                trace,
                self._blocking,
            )

    def explained(self, error: NodeError) -> bytes:
        """A refusal may concern one reader only, and git's own words are known to all."""
        if isinstance(error, PackFailed | ResourceExhausted):
            return b""
        return f"{error.message}\n".encode()

    async def _take_slot(self, stack: AsyncExitStack) -> None:
        request, account = self._request, current_account()
        slot = self._limiter.slot(request.remote_ip, has_username=request.has_username)
        try:
            turn = await stack.enter_async_context(slot)
        except (Refused, LeftQueue) as gone:
            account.fields.update(gone.turn.fields())
            raise
        if turn is not None:
            account.fields.update(turn.fields())

    async def _trace(self, stack: AsyncExitStack) -> Trace:
        trace = Trace(self._trace_directory)
        stack.callback(trace.remove)
        with suppress(OSError):  # then without
            await self._blocking.run(trace.make)
        return trace


class PackWork:
    """Such a git, while it runs."""

    def __init__(
        self,
        child: Child,
        source: PipeReader,
        listening: "asyncio.Task[None]",
        trace: Trace,
        blocking: Blocking,
    ) -> None:
        self.source = source
        self._child = child
        self._listening = listening
        self._trace = trace
        self._blocking = blocking

    async def finish(self) -> dict[str, int]:
        """As `Work.finish`. Raises PackFailed."""
        ended = await self._child.wait()
        await self._listening
        if not ended:
            raise PackFailed(self._child.error_text, ended)
        try:
            return await self._blocking.run(self._trace.take)
        except OSError:
            return {}
