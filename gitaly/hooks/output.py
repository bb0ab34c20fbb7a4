"""Where the output of hooks goes: to the pusher, as it comes."""

from typing import Protocol


class Output(Protocol):
    """Takes what hooks print, as fast as its reader reads.

    Both raise ConnectionError if nobody reads any more.
    """

    async def stdout(self, data: bytes) -> None: ...

    async def stderr(self, data: bytes) -> None: ...
