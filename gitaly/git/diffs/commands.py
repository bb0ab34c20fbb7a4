"""Git's diff commands, and what they write as it comes: nothing is read ahead of the caller.

The generators belong in `aclosing`: leaving one early ends git.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Unpack

from gitaly.errors import FailedPrecondition, Internal
from gitaly.git.command import Git, GitFailed
from gitaly.git.diffs.changed_paths import ChangedPath, ChangedPathsParser
from gitaly.git.diffs.comparison import Comparison, PatchOptions
from gitaly.git.diffs.head_attributes import AttributeOptions, HeadAttributes
from gitaly.git.diffs.numstat import LineCounts, NumstatParser
from gitaly.git.diffs.output import (
    check_end,
    enlarged,
    parsed,
    pieces,
    range_diff_exit,
    raw_entries,
    succeeded,
    with_objects,
)
from gitaly.git.diffs.patches import DiffParser, Event
from gitaly.git.diffs.range_diff import RangeDiffEvent, RangeDiffParser
from gitaly.git.diffs.raw import DiffUnreadable, RawEntry
from gitaly.git.invocation import Options
from gitaly.git.paths import RepositoryPaths
from gitaly.git.process import Child
from gitaly.git.revision_syntax import ID_DIGITS
from gitaly.git.stdio import DEVNULL, PIPE, Target
from gitaly.git.transfer import PIECE_BYTES, started

_PREFIXES: Final = ("diff.noprefix", "false")  # the parser looks for a/ and b/


class Diffs:
    """Asks git for differences. Attributes of HEAD count, whatever git's version."""

    def __init__(self, git: Git, attributes: HeadAttributes) -> None:
        self._git = git
        self._attributes = attributes

    async def files(
        self, comparison: Comparison, options: PatchOptions
    ) -> AsyncGenerator[list[Event], None]:
        """Changed files with their patches. What differs in ignored space only is not there.

        Raises FailedPrecondition with git's exit, DiffUnreadable, InvalidArgument.
        """
        parser = DiffParser(options.limits, only_patched=options.ignores_space)
        flags = [*self._patch_flags(comparison.repository), *options.flags()]
        async with self._diff(comparison, flags) as child:
            async for events in parsed(child, parser):
                yield events
            if not parser.is_cut_short:  # else git has more to say than anybody wants to hear
                check_end(child, await child.wait())

    async def blobs(
        self, comparison: Comparison, options: PatchOptions, objects_directory: str
    ) -> AsyncGenerator[list[Event], None]:
        """The difference of two blobs, one of which may be in that object directory only.

        Raises Internal with git's exit, or where nothing differs; DiffUnreadable.
        """
        repository = comparison.repository
        parser = DiffParser(options.limits, one_pair=True)
        async with (
            self._attributes_for(comparison, _PREFIXES) as more,
            started(
                self._git.run(
                    "diff",
                    repository=repository,
                    flags=[*self._patch_flags(repository), *options.flags()],
                    args=[comparison.old, comparison.new],
                    env=with_objects(repository, objects_directory),
                    **more,
                ),
                "spawning git-diff",
                Internal,
            ) as child,
        ):
            async for events in parsed(child, parser):
                yield events
            await succeeded(child, "waiting for git-diff: ")

    async def trees(
        self, comparison: Comparison, options: PatchOptions, objects_directory: str
    ) -> AsyncGenerator[list[Event], None]:
        """The difference of two flat trees in that object directory, without attributes.

        Raises Internal with git's exit, DiffUnreadable.
        """
        repository = comparison.repository
        parser = DiffParser(options.limits, only_patched=True)
        async with started(
            self._git.run(
                "diff-tree",
                repository=repository,
                flags=[*self._patch_flags(repository), "--no-renames", *options.flags()],
                args=[comparison.old, comparison.new],
                env=with_objects(repository, objects_directory),
            ),
            "spawning git-diff-pairs",
            Internal,
        ) as child:
            async for events in parsed(child, parser):
                yield events
            await succeeded(child, "waiting for git-diff-pairs: ")

    async def entries(
        self, comparison: Comparison, *flags: str
    ) -> AsyncGenerator[list[RawEntry], None]:
        """Changed files without patches, as `git diff` finds them. Raises as `files` does."""
        line = ["--raw", "-z", f"--abbrev={self._id_length(comparison.repository)}", *flags]
        async with self._diff(comparison, line) as child:
            async for batch in raw_entries(enlarged(child)):
                yield batch
            check_end(child, await child.wait())

    async def tree_entries(
        self, comparison: Comparison, *flags: str
    ) -> AsyncGenerator[list[RawEntry], None]:
        """The same as `git diff-tree` finds them; nothing, where it fails."""
        async with self._started(
            "diff-tree",
            repository=comparison.repository,
            flags=["-r", "-z", *flags],
            args=[comparison.old, comparison.new],
            after_separator=comparison.paths,
        ) as child:
            async for batch in raw_entries(enlarged(child)):
                yield batch

    async def line_counts(self, comparison: Comparison) -> AsyncGenerator[list[LineCounts], None]:
        """Added and removed lines of each changed file. Raises as `files` does."""
        parser = NumstatParser()
        async with self._diff(comparison, ["--numstat", "-z"], prefixes=False) as child:
            async for records in enlarged(child).record_batches(b"\0"):
                yield parser.receive(records)
            parser.finish()
            check_end(child, await child.wait())

    async def text(
        self, subcommand: str, comparison: Comparison, flags: Sequence[str]
    ) -> AsyncGenerator[bytes, None]:
        """What `git diff` or `git format-patch` writes, in pieces. Raises Internal."""
        arguments = (
            [f"{comparison.old}..{comparison.new}"]
            if subcommand == "format-patch"
            else [comparison.old, comparison.new]
        )
        async with (
            self._attributes_for(comparison) as options,
            self._started(
                subcommand,
                repository=comparison.repository,
                flags=flags,
                args=arguments,
                **options,
            ) as child,
        ):
            async for piece in pieces(child):
                yield piece
            await succeeded(child)

    async def changed_paths(
        self, repository: RepositoryPaths, lines: Sequence[str], flags: Sequence[str]
    ) -> AsyncGenerator[list[ChangedPath], None]:
        """What `git diff-tree --stdin` finds: `lines` are commits, perhaps with parents, or pairs
        of trees. Raises FailedPrecondition with git's exit, DiffUnreadable."""
        parser = ChangedPathsParser()
        async with started(
            self._git.run(
                "diff-tree",
                repository=repository,
                flags=["-z", "--stdin", "-r", "--root", *flags],
                stdin=PIPE,
            ),
            "cmd err",
            Internal,
        ) as child:
            assert child.stdin is not None
            child.stdin.feed("".join(f"{line}\n" for line in lines).encode())
            async for records in enlarged(child).record_batches(b"\0"):
                yield parser.receive(records)
            parser.finish()
            check_end(child, await child.wait(), "cmd wait err: ")

    async def patch_id(self, comparison: Comparison, *flags: str) -> str:
        """A hash of the difference that doesn't depend on line numbers; empty: no difference.

        Raises Internal with the exit of the git that failed, FailedPrecondition.
        """
        reader, writer = os.pipe()
        try:
            async with (
                self._attributes_for(comparison) as options,
                started(
                    self._git.run(
                        "diff",
                        repository=comparison.repository,
                        flags=["--full-index", *flags],
                        args=[comparison.old, comparison.new],
                        stdout=writer,
                        **options,
                    ),
                    "spawning diff",
                    Internal,
                ) as diff,
                started(
                    self._git.run("patch-id", flags=["--verbatim"], stdin=reader),
                    "spawning patch-id",
                    Internal,
                ) as patch_id,
            ):
                os.close(writer)
                writer = -1
                assert patch_id.stdout is not None
                output = await patch_id.stdout.read_all(1 << 20)
                await succeeded(patch_id, "waiting for patch-id: ")
                await succeeded(diff, "waiting for git-diff: ")
        finally:
            for end in (reader, writer):
                if end >= 0:
                    os.close(end)
        found, space, _ = output.decode("ascii", "replace").partition(" ")
        if output and not space:
            raise FailedPrecondition("unexpected patch ID format")
        return found

    async def range_diff_text(
        self, repository: RepositoryPaths, arguments: Sequence[str]
    ) -> AsyncGenerator[bytes, None]:
        """What `git range-diff` writes, in pieces. Raises Internal with its exit."""
        async with self._range_diff(repository, arguments) as child:
            async for piece in pieces(child):
                yield piece
            how = range_diff_exit(await child.wait())
            if not how:
                raise GitFailed(how, child.error_text)

    async def range_diff(
        self, repository: RepositoryPaths, arguments: Sequence[str]
    ) -> AsyncGenerator[list[RangeDiffEvent], None]:
        """Its pairs. Raises FailedPrecondition with its exit, Internal."""
        parser = RangeDiffParser()
        async with self._range_diff(repository, arguments) as child:
            stdout = enlarged(child)
            try:
                while data := await stdout.read(PIECE_BYTES):
                    yield parser.receive(data)
                yield parser.finish()
            except DiffUnreadable as error:
                raise Internal(f"RangeDiff: parse failure: {error}") from error
            check_end(child, range_diff_exit(await child.wait()), "RangeDiff: ")

    @asynccontextmanager
    async def _range_diff(
        self, repository: RepositoryPaths, arguments: Sequence[str]
    ) -> AsyncIterator[Child]:
        async with self._started(
            "range-diff",
            repository=repository,
            flags=["--no-color"],
            args=arguments,
            config=[("core.abbrev", "no")],  # before git 2.40 --abbrev doesn't count
        ) as child:
            yield child

    @asynccontextmanager
    async def _diff(
        self, comparison: Comparison, flags: Sequence[str], *, prefixes: bool = True
    ) -> AsyncIterator[Child]:
        config = [_PREFIXES] if prefixes else []
        async with (
            self._attributes_for(comparison, *config) as options,
            self._started(
                "diff",
                repository=comparison.repository,
                global_flags=["--literal-pathspecs"] if comparison.literal_paths else [],
                flags=flags,
                args=[comparison.old, comparison.new],
                after_separator=comparison.paths,
                **options,
            ) as child,
        ):
            yield child

    @asynccontextmanager
    async def _attributes_for(
        self, comparison: Comparison, *config: tuple[str, str]
    ) -> AsyncIterator[AttributeOptions]:
        """None are looked for on behalf of a git that will be refused for its arguments."""
        if comparison.old.startswith("-") or comparison.new.startswith("-"):
            yield AttributeOptions(config=[*config])
            return
        async with self._attributes.options(comparison.repository, *config) as options:
            yield options

    @asynccontextmanager
    async def _started(
        self, subcommand: str, *, stdin: Target = DEVNULL, **options: Unpack[Options]
    ) -> AsyncIterator[Child]:
        run = self._git.run(subcommand, stdin=stdin, **options)
        async with started(run, "cmd", Internal) as child:
            yield child

    def _patch_flags(self, repository: RepositoryPaths) -> list[str]:
        return ["--patch", "--raw", f"--abbrev={self._id_length(repository)}", "--full-index"]

    def _id_length(self, repository: RepositoryPaths) -> int:
        return ID_DIGITS[self._git.formats.of(repository.path).object_format]
