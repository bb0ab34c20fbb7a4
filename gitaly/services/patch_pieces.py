"""Patches cut into messages: the first says everything about the file, the last that it is the
last."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import IO, Final, Self

from gitaly.storage import Blocking

PIECE_BYTES: Final = 5120  # Source: Gitaly, internal/gitaly/service/diff/server.go
IN_MEMORY_BYTES: Final = 8 << 20
_READ_BYTES: Final = 100 * PIECE_BYTES


def patch_pieces(patch: bytes) -> Iterator[tuple[bytes, bool]]:
    """At least one piece, and whether it is the last."""
    last = max(0, (len(patch) - 1) // PIECE_BYTES * PIECE_BYTES)
    for start in range(0, last, PIECE_BYTES):
        yield patch[start : start + PIECE_BYTES], False
    yield patch[last:], True


class PatchSpool:
    """Keeps a patch until its counts are known, above 8 MiB on disk. Use it in an `async with`."""

    def __init__(self, blocking: Blocking) -> None:
        self._blocking = blocking
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    async def add(self, piece: bytes) -> None:
        """Take the next one. Raises OSError if there is no room on disk."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes > IN_MEMORY_BYTES:
            pieces, self._pieces, self._bytes = self._pieces, [], 0
            await self._blocking.run(self._write, pieces)

    async def pieces(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Everything, cut as by `patch_pieces`; then it is empty."""
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        kept = b""
        async for data in self._everything(pieces):
            *whole, (kept, _) = patch_pieces(kept + data)
            for piece in whole:
                yield piece
        yield kept, True
        self.clear()

    def clear(self) -> None:
        """Forget it."""
        self._pieces, self._bytes = [], 0
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _everything(self, pieces: list[bytes]) -> AsyncIterator[bytes]:
        if self._file is not None:
            self._file.seek(0)
            while data := await self._blocking.run(self._file.read, _READ_BYTES):
                yield data
        for piece in pieces:
            yield piece

    def _write(self, pieces: list[bytes]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="gitaly-patch-", buffering=0)  # noqa: SIM115 - closed by `clear`
        self._file.writelines(pieces)
