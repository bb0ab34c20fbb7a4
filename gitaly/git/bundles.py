"""Bundles and other streams of a repository's whole history."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gitaly.errors import FailedPrecondition, Internal
from gitaly.git.command import Git
from gitaly.git.output import output_pieces
from gitaly.git.paths import RepositoryPaths
from gitaly.git.quoting import go_quoted
from gitaly.git.revision_input import RevisionInput
from gitaly.git.stdio import DEVNULL, PIPE
from gitaly.git.subcommands import TO_STDOUT

_EMPTY: Final = b"fatal: Refusing to create empty bundle."


class EmptyBundle(FailedPrecondition):
    """There is nothing to bundle."""

    def __init__(self) -> None:
        super().__init__("refusing to create empty bundle")


async def bundle(
    git: Git, repository: RepositoryPaths, revisions: RevisionInput | None = None
) -> AsyncGenerator[bytes, None]:
    """A bundle of what the revisions reach, in pieces; those that do not exist are left out.

    None: of all references and HEAD. Raises EmptyBundle, Internal.
    """
    flags: list[str | bytes] = [TO_STDOUT]
    if revisions is None:
        flags.append("--all")
    else:
        flags += ["--ignore-missing", *revisions.flags, "--stdin"]
    async with git.run(
        "bundle",
        action="create",
        repository=repository,
        flags=flags,
        stdin=DEVNULL if revisions is None else PIPE,
    ) as child:
        if revisions is not None:
            assert child.stdin is not None
            child.stdin.feed(revisions.stdin)
        assert child.stdout is not None
        async with aclosing(output_pieces(child.stdout)) as pieces:
            async for piece in pieces:
                yield piece
        how = await child.wait()
    if how:
        return
    if how.code == 128 and child.error_text.startswith(_EMPTY):
        raise EmptyBundle
    raise Internal(f"{how}: stderr: {go_quoted(child.error_text)}")


async def fast_export(git: Git, repository: RepositoryPaths) -> AsyncGenerator[bytes, None]:
    """What `git fast-export --all` writes, as far as it gets: its end is not looked at.

    Clients know that a broken repository gives them a shorter stream, not an error.
    Source: Gitaly, internal/gitaly/service/repository/fast_export.go.
    """
    async with git.run("fast-export", repository=repository, flags=["--all"]) as child:
        assert child.stdout is not None
        async with aclosing(output_pieces(child.stdout)) as pieces:
            async for piece in pieces:
                yield piece
        await child.wait()
