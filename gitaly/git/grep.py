"""Searching the files of a tree for text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from gitaly.errors import FailedPrecondition
from gitaly.git.command import Git
from gitaly.git.output import output_pieces
from gitaly.git.paths import RepositoryPaths

CONTEXT_LINES: Final = "2"
_SEPARATOR: Final = b"\n--\n"
_BEGINNINGS: Final = (b"\n--", b"\n-", b"\n")
_NO_PCRE: Final = b"cannot use Perl-compatible regexes"


class Hunks:
    r"""Cuts what `git grep` writes into hunks, which it separates by a line "--".

    Events are bytes of the current hunk, and None for its end. Whole lines of a hunk always begin
    with the revision, so none can be taken for a separator.
    """

    def __init__(self) -> None:
        # The end of a line, which has been handed on, and what may become a separator behind it.
        self._held = b"\n"
        self._has_content = False

    def receive(self, data: bytes) -> list[bytes | None]:
        """The events of a piece of output."""
        handed_on = 1 if self._held else 0
        *hunks, rest = (self._held + data).split(_SEPARATOR)
        events: list[bytes | None] = []
        for hunk in hunks:
            events += self._content((hunk + b"\n")[handed_on:])
            events += self._ended()
            handed_on = 0
        if hunks and not rest:
            self._held = b"\n"
            return events
        self._held = next((end for end in _BEGINNINGS if rest.endswith(end)), b"")
        if self._held:
            rest = rest.removesuffix(self._held) + b"\n"
        return events + self._content(rest[handed_on:])

    def at_end(self) -> list[bytes | None]:
        """The events of the end of all output."""
        return [*self._content(self._held[1:]), *self._ended()]

    def _content(self, data: bytes) -> list[bytes | None]:
        self._has_content = self._has_content or bool(data)
        return [data] if data else []

    def _ended(self) -> list[bytes | None]:
        events: list[bytes | None] = [None] if self._has_content else []
        self._has_content = False
        return events


async def grep(
    git: Git, repository: RepositoryPaths, revision: bytes, expression: str
) -> AsyncGenerator[bytes | None, None]:
    r"""Matches of a Perl-compatible expression, ignoring case, with two lines around them.

    Lines are `<revision>:<path>\0<number>\0<text>\n`; None ends each group of lines. Nothing is
    found where git finds fault with the revision or the expression. Raises FailedPrecondition if
    git was built without such expressions.
    """
    hunks = Hunks()
    async with git.run(
        "grep",
        repository=repository,
        flags=[
            "--ignore-case",
            "-I",
            "--line-number",
            "--null",
            ("--before-context", CONTEXT_LINES),
            ("--after-context", CONTEXT_LINES),
            "--perl-regexp",
            ("-e", expression),
        ],
        args=[revision],
    ) as child:
        assert child.stdout is not None
        async with aclosing(output_pieces(child.stdout)) as pieces:
            async for piece in pieces:
                for event in hunks.receive(piece):
                    yield event
        await child.wait()
    if _NO_PCRE in child.error_text:
        raise FailedPrecondition("this node's git was built without Perl-compatible expressions")
    for event in hunks.at_end():
        yield event
