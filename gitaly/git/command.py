"""The one door to the git command line."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Unpack

from gitaly.errors import Internal
from gitaly.git.default_config import Pairs
from gitaly.git.exit_status import Exit
from gitaly.git.format import Formats
from gitaly.git.invocation import Invocations, Options
from gitaly.git.process import Child, Processes
from gitaly.git.quoting import go_quoted
from gitaly.git.stdio import DEVNULL, PIPE, Target
from gitaly.git.subcommands import InvalidArgument
from gitaly.git.version import GitBinary

OUTPUT_LIMIT_BYTES: Final = 64 << 20


class GitFailed(Internal):
    """A git that ended badly. The message is its exit, as Gitaly's; stderr goes to the log."""

    def __init__(self, how: Exit, stderr: bytes, *, with_stderr: bool = False) -> None:
        text = f"{how}, stderr: {go_quoted(stderr)}" if with_stderr else str(how)
        super().__init__(text, stderr=stderr.decode(errors="replace"))
        self.exit = how
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class CompletedGit:
    """A git that has ended, and what it said."""

    stdout: bytes
    stderr: bytes  # its beginning, at most 10000 bytes
    exit: Exit

    def checked(self, *, with_stderr: bool = False) -> bytes:
        """Its stdout. Raises GitFailed if it did not end with 0; `with_stderr`: for the client."""
        if not self.exit:
            raise GitFailed(self.exit, self.stderr, with_stderr=with_stderr)
        return self.stdout


class Git:
    """Builds git's command lines and runs them. Knows no repository that it was not handed."""

    def __init__(
        self,
        binary: GitBinary,
        processes: Processes,
        *,
        environment: Mapping[str, str],
        cpus: int,
        admin_config: Sequence[tuple[str, str]] = (),
        pack_config: Callable[[str], Pairs] = lambda _: (),
    ) -> None:
        """`environment`: the node's own. `admin_config`: the operator's, which wins.

        `pack_config`: what else a command that packs is told, by its placement.
        """
        self.binary = binary
        self._processes = processes
        self._invocations = Invocations(
            binary,
            environment=environment,
            cpus=cpus,
            admin_config=admin_config,
            pack_config=pack_config,
        )

    def adopt(self, admin_config: Sequence[tuple[str, str]]) -> None:
        """Another configuration of the operator's, for each git that starts from now on."""
        self._invocations.adopt(admin_config)

    @property
    def admin_config(self) -> Sequence[str]:
        """The operator's configuration, "key=value", as the next git gets it."""
        return self._invocations.admin_config

    @property
    def formats(self) -> Formats:
        """Object formats and reference backends of repositories."""
        return self._invocations.formats

    @asynccontextmanager
    async def run(
        self,
        subcommand: str,
        *,
        stdin: Target = DEVNULL,
        stdout: Target = PIPE,
        stderr: Target | None = None,
        hangs_up: bool = False,
        **options: Unpack[Options],
    ) -> AsyncIterator[Child]:
        """A git child for the length of the block; leaving the block before its end stops it.

        The streams are those of `Processes.run`: by default nothing to read, stdout a pipe, and
        the beginning of stderr kept. Raises InvalidArgument for what git might misunderstand,
        HooksUndecided, and Internal if git cannot be started.
        """
        try:
            invocation = self._invocations.build(subcommand, options)
        except InvalidArgument:
            self._processes.metrics.refused(subcommand)
            raise
        async with self._processes.run(
            invocation.argv,
            invocation.env,
            cmd="git",
            subcmd=subcommand,
            reference_backend=invocation.reference_backend,
            placement=invocation.placement,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            hangs_up=hangs_up,
        ) as child:
            yield child

    async def output(
        self,
        subcommand: str,
        *,
        input: bytes = b"",  # noqa: A002 - as subprocess.run names it
        limit: int = OUTPUT_LIMIT_BYTES,
        **options: Unpack[Options],
    ) -> CompletedGit:
        """Run git to its end, however it ends, and collect at most `limit` bytes of output.

        Raises as `run` does, and OutputTooLarge.
        """
        stdin = PIPE if input else DEVNULL
        async with self.run(subcommand, stdin=stdin, **options) as child:
            assert child.stdout is not None
            if child.stdin is not None:
                child.stdin.feed(input)
            stdout = await child.stdout.read_all(limit)
            return CompletedGit(stdout, exit=await child.wait(), stderr=child.error_text)
