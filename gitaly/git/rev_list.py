"""Walks by `git rev-list`, read as they go."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gitaly.git.arguments import POINTER_BYTES
from gitaly.git.command import Git, GitFailed
from gitaly.git.paths import RepositoryPaths
from gitaly.git.revision_input import RevisionInput, RevisionLines
from gitaly.git.stdio import DEVNULL, PIPE, Target
from gitaly.git.subcommands import Argument
from gitaly.git.version import GitBinary

ARGUMENTS_BYTES: Final = 96 * 1024  # more revisions come in git's input
Flags = Sequence[Argument | tuple[Argument, Argument]]
LITERAL_PATHSPECS: Final = "--literal-pathspecs"


async def rev_list(
    git: Git,
    repository: RepositoryPaths,
    revisions: Sequence[bytes],
    flags: Flags = (),
    *,
    paths: Sequence[bytes] = (),
    has_literal_paths: bool = False,
) -> AsyncGenerator[list[bytes], None]:
    """The lines of `git rev-list`, as many at once as have arrived.

    `revisions` have been checked; `--all`, `--not` and the like count in their order. No more is
    read than is taken; who leaves it early closes it (`contextlib.aclosing`), which stops git.

    Raises GitFailed, whose text begins with "rev-list pipeline command" and holds git's own.
    """
    given = _given(git.binary, revisions)
    output = git_lines(
        git,
        "rev-list",
        repository,
        flags=[*flags, *given.flags, "--stdin"] if given.stdin else flags,
        args=() if given.stdin else revisions,
        paths=paths,
        has_literal_paths=has_literal_paths,
        written=given.stdin,
    )
    async with aclosing(output):
        try:
            async for lines in output:
                yield lines
        except GitFailed as error:
            error.message = f"rev-list pipeline command: {error.message}"
            raise


async def git_lines(
    git: Git,
    subcommand: str,
    repository: RepositoryPaths,
    *,
    flags: Flags = (),
    args: Sequence[Argument] = (),
    paths: Sequence[bytes] | None = None,
    has_literal_paths: bool = False,
    written: bytes = b"",
    separator: bytes = b"\n",
    stdin: Target = DEVNULL,
    config: Sequence[tuple[str, str]] = (),
) -> AsyncGenerator[list[bytes], None]:
    """What a walk writes, as many records at once as have arrived. See `rev_list`.

    `paths`: pathspecs, None where there can't be any. `written`: its input, instead of `stdin`.
    Raises GitFailed, with git's text in its own.
    """
    async with git.run(
        subcommand,
        repository=repository,
        flags=flags,
        args=args,
        after_separator=paths,
        global_flags=[LITERAL_PATHSPECS] if has_literal_paths else [],
        stdin=PIPE if written else stdin,
        config=config,
    ) as child:
        assert child.stdout is not None
        if child.stdin is not None:
            child.stdin.feed(written)
        async for records in child.stdout.record_batches(separator):
            yield records
        how = await child.wait()
        if not how:
            raise GitFailed(how, child.error_text, with_stderr=True)


def _given(binary: GitBinary, revisions: Sequence[bytes]) -> RevisionInput:
    """How git gets the revisions; without input, they are arguments."""
    if sum(len(revision) + POINTER_BYTES for revision in revisions) <= ARGUMENTS_BYTES:
        return RevisionInput((), b"")
    lines = RevisionLines()
    for revision in revisions:
        lines.add(revision)
    return lines.input_for(binary)
