"""What a client of a fetch is told when git had to give up: the cause before the lament."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from gitaly.git.spawner import StoppedByLimit
from gitaly.git.transfer import Sink
from gitaly.transport import pktline, sideband

# upload-pack's packet on band 3 when pack-objects has failed it; nothing follows it, and a client
# reads nothing behind it. Older versions of git (2.39) send the NUL, too.
# Source: git, upload-pack.c.
LAMENT: Final = b"\x03aborting due to possible repository corruption on the remote side."
GIVING_UP: Final = (pktline.encode(LAMENT + b"\0"), pktline.encode(LAMENT))
MOST_BYTES: Final = max(map(len, GIVING_UP))
HEADER_BYTES: Final = 5  # length and band, which git writes apart: they may come before the rest
HELD: Final = (*GIVING_UP, *(words[:HEADER_BYTES] for words in GIVING_UP))


class LastWords:
    """Passes on what git writes, but keeps its packet of despair back until the cause is known."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = b""

    async def room(self, at_least: int = 1) -> int:
        """As the sink's."""
        return await self._sink.room(at_least)

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """As the sink's, but for those words at the very end."""
        *before, last = buffers
        if self._held and not before and len(last) < MOST_BYTES:
            last = self._held + bytes(last)
        elif self._held:
            before = [self._held, *before]
        self._held = b""
        for words in HELD:
            if last[-len(words) :] == words:
                last = last[: -len(words)]
                self._held = words
                break
        self._sink.write([*before, last])

    def release(self) -> None:
        """Nothing is to be added."""
        if self._held:
            self._sink.write([self._held])
            self._held = b""

    def explain(self, error: StoppedByLimit) -> None:
        """Say on band 2, which git shows as "remote: …", what happened."""
        if self._held in GIVING_UP:
            with suppress(ConnectionError):
                self._sink.write([pktline.encode(b"\x02" + words_of(error)), self._held])
                self._held = b""


def explain_on_band(sink: Sink, error: StoppedByLimit) -> None:
    """The same for a client who gets git's stderr in a side-band of ours."""
    with suppress(ConnectionError):
        sink.write(sideband.frames(sideband.STDERR, memoryview(words_of(error))))


def words_of(error: StoppedByLimit) -> bytes:
    """A line for a person."""
    return f"error: {error.message}\n".encode()
