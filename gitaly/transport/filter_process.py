"""Git's long-running filters: the conversation in which git has the content of files replaced.

Git says which files; this is the other side, without I/O. Source: gitattributes(5), "Long Running
Filter Process"; only version 2 and its capability "smudge".
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gitaly.errors import NodeError
from gitaly.transport.pktline import FLUSH, MAX_DATA, PktLineReader, encode

CONTENT_LIMIT_BYTES: Final = 64 << 20  # of what git hands over; pointers have some hundred bytes


class FilterProtocolError(NodeError):
    """Git said something that this side does not understand."""


class FilterProcess:
    """Takes what git says, and says when a file is complete.

    `receive` gives bytes to be sent at once, or the content of a file: answer it with `answer`
    before more is received.
    """

    def __init__(self) -> None:
        self._reader = PktLineReader()
        self._lines: list[bytes] = []  # of the current list, up to its flush
        self._size = 0
        self._step: Callable[[list[bytes]], Iterable[bytes]] = self._welcome
        self._content: bytes | None = None

    def receive(self, data: bytes) -> Iterator[bytes]:
        """What to send for a piece of input. Afterwards look at `content`.

        Raises FilterProtocolError, PktLineError.
        """
        for packet in self._reader.receive(data):
            if packet != FLUSH:
                self._lines.append(packet[4:])
                self._size += len(packet)
                if self._size > CONTENT_LIMIT_BYTES:
                    raise FilterProtocolError("a file is too large to be filtered")
                continue
            lines, self._lines, self._size = self._lines, [], 0
            yield from self._step(lines)

    def take_content(self) -> bytes | None:
        """The file that git waits for, once; None: git has not said all of it yet."""
        content, self._content = self._content, None
        return content

    def _welcome(self, lines: list[bytes]) -> Iterable[bytes]:
        if lines[:1] != [b"git-filter-client\n"] or b"version=2\n" not in lines:
            raise FilterProtocolError("git does not speak version 2 of the filter protocol")
        self._step = self._capabilities
        return [encode(b"git-filter-server\n"), encode(b"version=2\n"), FLUSH]

    def _capabilities(self, lines: list[bytes]) -> Iterable[bytes]:
        if b"capability=smudge\n" not in lines:
            raise FilterProtocolError("git does not want to smudge")
        self._step = self._command
        return [encode(b"capability=smudge\n"), FLUSH]

    def _command(self, lines: list[bytes]) -> Iterable[bytes]:
        if lines[:1] != [b"command=smudge\n"]:
            raise FilterProtocolError("git asks for something else than to smudge")
        self._step = self._whole
        return []

    def _whole(self, lines: list[bytes]) -> Iterable[bytes]:
        self._content = b"".join(lines)
        self._step = self._command
        return []


def refusal() -> bytes:
    """This file stays as it is, says git; it has not been touched."""
    return encode(b"status=error\n") + FLUSH


def beginning() -> bytes:
    """The new content follows."""
    return encode(b"status=success\n") + FLUSH


def content(data: bytes) -> Iterator[bytes]:
    """A part of the new content."""
    for start in range(0, len(data), MAX_DATA):
        yield encode(data[start : start + MAX_DATA])


def ending(*, is_whole: bool) -> bytes:
    """Of the new content; if it is not whole, git forgets what it has got."""
    return FLUSH + (FLUSH if is_whole else refusal())
