"""Runs custom hooks one after the other, each in a process group of its own."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final

from gitaly.errors import Internal
from gitaly.git import PIPE, Child, Exit, Processes, reason
from gitaly.git.error_text import ErrorText
from gitaly.git.transfer import merged
from gitaly.hooks.custom.discovery import CustomHook, find_hooks, installed_hooks
from gitaly.hooks.custom.environment import hook_environment
from gitaly.hooks.output import Output
from gitaly.hooks.push import Push
from gitaly.observe.log import Logger
from gitaly.storage import Blocking
from gitaly.tasks import background
from gitaly.transport import sideband

# A new process has the directory of the node, and posix_spawn cannot give it another. A shell can,
# in less than a millisecond; it becomes the hook and leaves nothing of itself behind.
LAUNCHER: Final = ("/bin/sh", "-c", 'cd -P -- "$0" && unset OLDPWD && exec "$@"')
DAEMON_SECONDS: Final = 5.0  # for output of what a hook leaves running; then nobody listens
LOGGED_LINES: Final = 5


class CustomHookFailed(Internal):
    """A custom hook ended badly. Its own output has told the pusher why, if it wanted to."""

    def __init__(self, hook: CustomHook, how: Exit) -> None:
        super().__init__(f'executing custom hooks: error executing "{hook.path}": {how}')
        self.hook = hook
        self.exit = how


class HookTimedOut(Internal):
    """A custom hook did not come to an end in its time."""

    def __init__(self, hook: CustomHook, seconds: float) -> None:
        super().__init__(f"custom hook {hook.name} did not end within {seconds:g} seconds")


class CustomHooks:
    """The custom hooks of a node's repositories."""

    def __init__(
        self,
        processes: Processes,
        blocking: Blocking,
        logger: Logger,
        *,
        environment: Mapping[str, str],
        git_directory: str,
        global_directory: str,
        seconds: float,
    ) -> None:
        """`environment`: the node's own. `seconds`: for one program; 0: as long as it takes."""
        self._processes = processes
        self._blocking = blocking
        self._logger = logger
        self._environment = environment
        self._git_directory = git_directory
        self._global_directory = global_directory
        self._seconds = seconds

    def adopt(self, *, global_directory: str, seconds: float) -> None:
        """Another directory and another time for hooks that are looked for from now on."""
        self._global_directory = global_directory
        self._seconds = seconds

    async def installed(self, repository_path: str) -> frozenset[str]:
        """The hooks for which a repository has any program."""
        return await self._blocking.run(installed_hooks, repository_path, self._global_directory)

    async def run(
        self,
        name: str,
        push: Push,
        output: Output,
        *,
        args: Sequence[str | bytes] = (),
        stdin: bytes,
    ) -> None:
        """Run them in their order, each with all of `stdin`; the first that fails is the last.

        Raises CustomHookFailed, HookTimedOut, and Internal if they cannot be found or started.
        """
        try:
            hooks = await self._blocking.run(
                find_hooks, push.repository.path, self._global_directory, name
            )
        except OSError as error:
            raise Internal(f"creating custom hooks executor: {reason(error)}") from error
        if not hooks:
            return
        env = hook_environment(
            push, self._environment, self._git_directory, with_push_options=name != "update"
        )
        for hook in hooks:
            await self._run_one(name, hook, push, env, output, args, stdin)

    async def _run_one(
        self,
        name: str,
        hook: CustomHook,
        push: Push,
        env: Mapping[str, str],
        output: Output,
        args: Sequence[str | bytes],
        stdin: bytes,
    ) -> None:
        started = time.monotonic()
        said = ErrorText()
        how: Exit | None = None
        try:
            async with (
                asyncio.timeout(self._seconds or None),
                self._processes.run(
                    [*LAUNCHER, push.repository.path, hook.path, *args],
                    env,
                    cmd="gitaly-hooks",
                    subcmd=name,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=PIPE,
                    spares_others=True,
                ) as child,
            ):
                said = child.heard
                assert child.stdin is not None
                child.stdin.feed(stdin)
                await _forward(child, output)
                how = await child.wait()
        except TimeoutError as error:
            raise HookTimedOut(hook, self._seconds) from error
        finally:
            self._log(name, hook, push, how, time.monotonic() - started, said)
        if not how:
            if how.signal is not None:
                await output.stderr(f"custom hook {hook.name} was ended by {how}\n".encode())
            raise CustomHookFailed(hook, how)

    def _log(
        self,
        name: str,
        hook: CustomHook,
        push: Push,
        how: Exit | None,
        seconds: float,
        said: ErrorText,
    ) -> None:
        lines = said.value().decode(errors="replace").splitlines()[:LOGGED_LINES]
        write = self._logger.info if how else self._logger.warning
        write(
            "custom hook finished",
            hook=name,
            hook_path=hook.path,
            exit_status="stopped" if how is None else str(how.number),
            duration_ms=int(seconds * 1000),
            stderr="\n".join(lines),
            correlation_id=push.correlation_id,
            repository=push.repository.relative_path,
        )


async def _forward(child: Child, output: Output) -> None:
    """Move what it prints until nobody holds its pipes, or a while after its end."""
    async with background(_stop_listening(child)), aclosing(merged(child)) as pieces:
        async for band, piece in pieces:
            with suppress(ConnectionError):  # nobody reads; the hook may still have things to do
                await (output.stdout if band == sideband.STDOUT else output.stderr)(piece)


async def _stop_listening(child: Child) -> None:
    await child.wait()
    await asyncio.sleep(DAEMON_SECONDS)
    child.close_pipes()
