"""HTTP/1.1 for one exchange on one connection: a request in bytes, and bytes into a response.

No I/O. Enough of RFC 9112 for a client that sends `Connection: close`: content by length, in
chunks, or up to the end of the connection; interim responses are passed over.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MOST_HEAD_BYTES: Final = 64 * 1024
MOST_BODY_BYTES: Final = 16 << 20  # no answer of the API comes near
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?")
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f]")


class ProtocolError(Exception):
    """What came is not HTTP/1.1, or more than anybody should send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `target`: path and query. Host, Content-Length and Connection are added."""

    method: str
    host: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        """The bytes to send. Raises ValueError for what would break the framing."""
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: {self.host}"]
        lines += (f"{name}: {value}" for name, value in self.headers)
        if self.body or self.method == "POST":
            lines.append(f"Content-Length: {len(self.body)}")
        lines.append("Connection: close")
        if any(_UNSAFE.search(line) for line in lines):
            raise ValueError("control character in a header")
        return "\r\n".join((*lines, "", "")).encode("utf-8") + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response. Names of headers are in lower case; of several with one name the first."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def media_type(self) -> str:
        """Without parameters, in lower case; empty if the response names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:  # Any: that is what JSON is
        """The body. Raises ValueError if it is not JSON."""
        return json.loads(self.body)


class ResponseReader:
    """Puts a response together from whatever pieces the network makes of it."""

    def __init__(self, method: str = "GET") -> None:
        self._method = method
        self._data = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._left: int | None = 0  # of the body or of the current chunk; None: to the end
        self._step: Callable[[], bool] = self._head
        self.response: Response | None = None  # as soon as it is complete

    def receive(self, data: bytes) -> Response | None:
        """Take a piece; the response if it is complete now. Raises ProtocolError."""
        self._data += data
        while self.response is None and self._step():
            pass
        return self.response

    def at_end(self) -> Response:
        """The peer has closed; the response. Raises ProtocolError if something is missing."""
        if self.response is None:
            if self._step != self._content or self._left is not None:
                raise ProtocolError("connection closed before the end of the response")
            self._complete()
        assert self.response is not None
        return self.response

    def _complete(self) -> bool:
        self.response = Response(status=self._status, headers=self._headers, body=bytes(self._body))
        return False

    def _head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > MOST_HEAD_BYTES:
                raise ProtocolError("endless headers")
            return False
        status_line, *lines = bytes(self._data[:end]).split(b"\r\n")
        del self._data[: end + 4]
        status = _STATUS_LINE.fullmatch(status_line)
        if not status:
            raise ProtocolError("malformed status line")
        self._status = int(status[1])
        self._headers = _headers(lines)
        if 100 <= self._status < 200:
            return True  # the real one follows
        return self._begin_body()

    def _begin_body(self) -> bool:
        if self._method == "HEAD" or self._status in (204, 304):
            return self._complete()
        coding = self._headers.get("transfer-encoding")
        if coding is not None:
            if coding.strip().lower() != "chunked":
                raise ProtocolError("unknown transfer coding")
            self._step = self._chunk_size
            return True
        length = self._headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise ProtocolError("malformed content length")
        self._left = None if length is None else int(length)
        self._step = self._content
        return True

    def _content(self) -> bool:
        self._take()
        return self._complete() if self._left == 0 else False

    def _chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        size = _CHUNK_LINE.fullmatch(line)
        if not size:
            raise ProtocolError("malformed chunk size")
        self._left = int(size[1], 16)
        self._step = self._chunk if self._left else self._trailer
        return True

    def _chunk(self) -> bool:
        self._take()
        if self._left:
            return False
        line = self._line()
        if line is None:
            return False
        if line:
            raise ProtocolError("malformed end of chunk")
        self._step = self._chunk_size
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        return True if line else self._complete()

    def _take(self) -> None:
        piece = self._data[: self._left]
        if len(self._body) + len(piece) > MOST_BODY_BYTES:
            raise ProtocolError("endless body")
        self._body += piece
        del self._data[: len(piece)]
        if self._left is not None:
            self._left -= len(piece)

    def _line(self) -> bytes | None:
        end = self._data.find(b"\r\n")
        if end < 0:
            if len(self._data) > MOST_HEAD_BYTES:
                raise ProtocolError("endless line")
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        return line


def _headers(lines: Sequence[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise ProtocolError("malformed header")
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())
    return found
