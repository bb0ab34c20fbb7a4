"""What `git for-each-ref` writes, as it comes."""

from collections.abc import AsyncGenerator, Sequence

from gitaly.git.command import Git, GitFailed
from gitaly.git.paths import RepositoryPaths
from gitaly.git.subcommands import Argument

Flags = list[Argument | tuple[Argument, Argument]]


async def reference_lines(
    git: Git,
    repository: RepositoryPaths,
    flags: Flags,
    patterns: Sequence[bytes],
    *,
    separator: bytes = b"\n",
) -> AsyncGenerator[list[bytes], None]:
    """The records, as many at once as have arrived; no more is read than is taken.

    Who leaves it early closes it (`contextlib.aclosing`), which stops git.
    Raises GitFailed ("exit status 129"), InvalidArgument.
    """
    async with git.run("for-each-ref", repository=repository, flags=flags, args=patterns) as child:
        assert child.stdout is not None
        async for lines in child.stdout.record_batches(separator):
            yield lines
        how = await child.wait()
        if not how:
            raise GitFailed(how, child.error_text)
