"""Where the output of hooks goes: to the pusher as it comes, or into memory."""

from typing import Protocol


class Output(Protocol):
    """Takes what hooks print, as fast as its reader reads.

    Both raise ConnectionError if nobody reads any more.
    """

    async def stdout(self, data: bytes) -> None: ...

    async def stderr(self, data: bytes) -> None: ...


class Collected:
    """Keeps everything; for callers who want to see it at the end."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.err = bytearray()

    async def stdout(self, data: bytes) -> None:
        self.out += data

    async def stderr(self, data: bytes) -> None:
        self.err += data
