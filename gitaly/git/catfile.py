"""One running `git cat-file -z --batch-command`: questions in, answers out.

Source: git-cat-file(1), BATCH OUTPUT. The output is read line by line, so that a revision with
line feeds in it, which comes back in the answer "missing", must be known when it is read.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from gitaly.errors import Internal
from gitaly.git.catfile_metrics import CatfileCounts
from gitaly.git.objects import (
    MEMORY_BYTES,
    PIECE_BYTES,
    AmbiguousRevision,
    Object,
    ObjectInfo,
    ObjectTooLarge,
)
from gitaly.git.pipes import PipeReader
from gitaly.git.process import Child
from gitaly.git.quoting import go_quoted

# What fits into a pipe: git reads all questions before it answers, so nobody waits for the other.
QUESTIONS_BYTES: Final = 32 * 1024
FLUSH: Final = b"flush\0"
_HEADER: Final = re.compile(rb"([0-9a-f]{40}(?:[0-9a-f]{24})?) (commit|tree|blob|tag) (\d+)")


def info_in(line: bytes, revision: bytes) -> ObjectInfo | None:
    """The meaning of the line that answers a question. Raises AmbiguousRevision, Internal."""
    header = _HEADER.fullmatch(line)
    if header is not None:
        return ObjectInfo(header[1].decode(), header[2].decode(), int(header[3]))
    if line == revision + b" missing" or line.endswith(b" submodule"):
        return None
    if line == revision + b" ambiguous":
        raise AmbiguousRevision(revision)
    raise Internal(f"invalid info line: {go_quoted(line)}")


class Answers:
    """Cuts what git writes into lines and contents. Keeps at most one piece beside a content."""

    def __init__(self, source: PipeReader) -> None:
        self._source = source
        self._buffer = bytearray()

    async def info(self, revision: bytes) -> ObjectInfo | None:
        """The answer to a question about the revision. Raises AmbiguousRevision, Internal."""
        line = await self._line()
        while revision.startswith(line + b"\n"):  # it has line feeds, and comes back
            line += b"\n" + await self._line()
        return info_in(line, revision)

    async def content(self, info: ObjectInfo) -> bytes:
        """What follows an `info` that answered `contents`."""
        while len(self._buffer) <= info.size:
            await self._more()
        data = bytes(self._buffer[: info.size])
        del self._buffer[: info.size + 1]
        return data

    async def pieces(self, info: ObjectInfo) -> AsyncGenerator[bytes, None]:
        """The same, piece by piece."""
        left = info.size
        while left:
            if not self._buffer:
                await self._more()
            piece = bytes(self._buffer[: min(left, PIECE_BYTES)])
            del self._buffer[: len(piece)]
            left -= len(piece)
            yield piece
        await self._line()

    async def _line(self) -> bytes:
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            await self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def _more(self) -> None:
        piece = await self._source.read(PIECE_BYTES)
        if not piece:
            raise Internal("git cat-file ended before it had answered")
        self._buffer += piece


class Catfile:
    """One process. For one caller at a time, and no more after a call was broken off."""

    def __init__(self, child: Child, counts: CatfileCounts) -> None:
        assert child.stdout is not None
        self.child = child
        self._counts = counts
        self._answers = Answers(child.stdout)

    @property
    def is_usable(self) -> bool:
        """Whether it lives, and can be asked again."""
        return (
            self.child.exit is None
            and self.child.stdin is not None
            and not self.child.stdin.is_closed
        )

    async def infos(self, revisions: Sequence[bytes]) -> list[ObjectInfo | None]:
        """What each revision leads to. Raises AmbiguousRevision, Internal."""
        found = []
        for batch in _batches(revisions):
            await self._ask(b"info", batch)
            self._counts.lookups["info"] += len(batch)
            found += [await self._answers.info(revision) for revision in batch]
        return found

    async def read_many(self, revisions: Sequence[bytes]) -> list[Object | None]:
        """The whole of each. Raises AmbiguousRevision, ObjectTooLarge, Internal."""
        found = []
        for batch in _batches(revisions):
            await self._ask(b"contents", batch)
            found += [await self._object(revision) for revision in batch]
        return found

    async def pieces(self, info: ObjectInfo) -> AsyncGenerator[bytes, None]:
        """The content of an object, piece by piece. Raises Internal if it is not there."""
        name = info.object_id.encode()
        if info.size > PIECE_BYTES and self.child.stdout is not None:
            self.child.stdout.enlarge()
        await self._ask(b"contents", [name])
        if await self._answers.info(name) != info:
            raise Internal("object not found")
        self._counts.lookups[info.type] += 1
        async for piece in self._answers.pieces(info):
            yield piece

    async def _object(self, revision: bytes) -> Object | None:
        info = await self._answers.info(revision)
        if info is None:
            return None
        if info.size > MEMORY_BYTES:
            raise ObjectTooLarge(info)
        self._counts.lookups[info.type] += 1
        return Object(info.object_id, info.type, await self._answers.content(info))

    async def _ask(self, command: bytes, revisions: Sequence[bytes]) -> None:
        assert self.child.stdin is not None
        questions = b"".join(b"%b %b\0" % (command, revision) for revision in revisions)
        try:
            await self.child.stdin.write(questions + FLUSH)
        except (BrokenPipeError, ValueError) as error:
            raise Internal("git cat-file ended before it was asked") from error


def _batches(revisions: Sequence[bytes]) -> list[list[bytes]]:
    """Parts that fit into a pipe; a revision that does not fit is a part of its own."""
    batches: list[list[bytes]] = []
    room = 0
    for revision in revisions:
        needed = len(revision) + len(b"contents \0")
        if needed > room:
            batches.append([])
            room = QUESTIONS_BYTES
        batches[-1].append(revision)
        room -= needed
    return batches
