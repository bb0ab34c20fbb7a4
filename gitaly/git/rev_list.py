"""Walks by `git rev-list`, read as they go."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gitaly.git.command import Git, GitFailed
from gitaly.git.paths import RepositoryPaths
from gitaly.git.revision_syntax import is_whole_object_id
from gitaly.git.stdio import DEVNULL, PIPE
from gitaly.git.subcommands import Argument
from gitaly.git.version import STDIN_OPTIONS

# Less than a process may have: Linux allows 2 MiB of arguments and environment together.
ARGUMENTS_BYTES: Final = 96 * 1024
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
    reads_options = git.binary.version >= STDIN_OPTIONS
    arguments, written = arguments_and_input(revisions, reads_options=reads_options)
    output = git_lines(
        git,
        "rev-list",
        repository,
        flags=[*flags, "--stdin"] if written else flags,
        args=arguments,
        paths=paths,
        has_literal_paths=has_literal_paths,
        written=written,
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
) -> AsyncGenerator[list[bytes], None]:
    """What a walk writes, as many records at once as have arrived. See `rev_list`.

    `paths`: pathspecs, None where there can't be any. `written`: its standard input.
    Raises GitFailed, with git's text in its own.
    """
    async with git.run(
        subcommand,
        repository=repository,
        flags=flags,
        args=args,
        after_separator=paths,
        global_flags=[LITERAL_PATHSPECS] if has_literal_paths else [],
        stdin=PIPE if written else DEVNULL,
    ) as child:
        assert child.stdout is not None
        if child.stdin is not None:
            child.stdin.feed(written)
        async for records in child.stdout.record_batches(separator):
            yield records
        how = await child.wait()
        if not how:
            raise GitFailed(how, child.error_text, with_stderr=True)


def arguments_and_input(
    revisions: Sequence[bytes], *, reads_options: bool
) -> tuple[list[bytes], bytes]:
    """Revisions for the command line, and those for the input, which begins with the former.

    A git before 2.42 takes no options from its input: there only whole object ids leave the
    command line, each with the sign that it has behind `--not`.
    """
    if sum(len(revision) + 1 for revision in revisions) <= ARGUMENTS_BYTES:
        return list(revisions), b""
    if reads_options or not any(revision.startswith(b"--") for revision in revisions):
        return [], b"".join(revision + b"\n" for revision in revisions)
    arguments, lines, is_negated = [], [], False
    for revision in revisions:
        sign, plain = revision[:1] == b"^", revision.removeprefix(b"^")
        if revision == b"--not":
            is_negated = not is_negated
        if any(is_whole_object_id(plain, form) for form in ("sha1", "sha256")):
            lines.append((b"^" if sign != is_negated else b"") + plain + b"\n")
        else:
            arguments.append(revision)
    return arguments, b"".join(lines)
