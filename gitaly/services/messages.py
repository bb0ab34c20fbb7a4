"""How long answers are cut into messages. Source: Gitaly, internal/helper/chunk and streamio."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Final, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

MESSAGE_BYTES: Final = 1 << 20  # of the items in one message
DATA_BYTES: Final = 128 * 1024  # of bulk data in one message


async def in_messages(batches: AsyncIterable[Iterable[M]]) -> AsyncIterator[list[M]]:
    """Items, together in lists of less than 1 MiB; nothing for no items.

    An item that is larger is alone in its message. Nothing is taken while the caller works.
    """
    waiting: list[M] = []
    size = 0
    async for batch in batches:
        for item in batch:
            more = item.ByteSize()
            if waiting and size + more >= MESSAGE_BYTES:
                yield waiting
                waiting, size = [], 0
            waiting.append(item)
            size += more
    if waiting:
        yield waiting


async def in_counted_messages(
    batches: AsyncIterable[Iterable[M]], count: int
) -> AsyncIterator[list[M]]:
    """Items in lists of `count`, and the rest; nothing for no items."""
    waiting: list[M] = []
    async for batch in batches:
        for item in batch:
            waiting.append(item)
            if len(waiting) == count:
                yield waiting
                waiting = []
    if waiting:
        yield waiting


def in_pieces(data: bytes) -> Iterator[bytes]:
    """Data in pieces of 128 KiB; nothing for no data."""
    for start in range(0, len(data), DATA_BYTES):
        yield data[start : start + DATA_BYTES]
