"""The part of a child's stderr that is kept for error texts and the log."""

from typing import Final

KEPT_BYTES: Final = 10000
KEPT_LINE_BYTES: Final = 4096


class ErrorText:
    """Keeps the first 10000 bytes of what it is fed, and of each line the first 4096.

    Takes any amount and never refuses: a child must not wait because its complaints are long.
    Source: Gitaly, internal/command (the limits).
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._line_bytes = 0  # of the line that is not ended yet, dropped bytes included

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if len(self._kept) >= KEPT_BYTES:
            return
        for index, line in enumerate(data.split(b"\n")):
            if index:
                self._kept += b"\n"
                self._line_bytes = 0
            self._kept += line[: max(0, KEPT_LINE_BYTES - self._line_bytes)]
            self._line_bytes += len(line)
        del self._kept[KEPT_BYTES:]

    def value(self) -> bytes:
        """What was kept until now."""
        return bytes(self._kept)
