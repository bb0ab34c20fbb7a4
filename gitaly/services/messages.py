"""How long answers are cut into messages. Source: Gitaly, internal/helper/chunk and streamio."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Final, TypeVar

from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)

MESSAGE_BYTES: Final = 1 << 20  # of the items in one message
DATA_BYTES: Final = 128 * 1024  # of bulk data in one message


def in_messages(batches: AsyncIterable[Iterable[M]]) -> AsyncIterator[list[M]]:
    """Items, together in lists of less than 1 MiB; nothing for no items.

    An item that is larger is alone in its message. Nothing is taken while the caller works.
    """
    return sized_messages(batches, lambda item: item.ByteSize())


async def sized_messages(
    batches: AsyncIterable[Iterable[T]], size_of: Callable[[T], int]
) -> AsyncIterator[list[T]]:
    """`in_messages` for items that are no messages themselves."""
    waiting: list[T] = []
    size = 0
    async for batch in batches:
        for item in batch:
            more = size_of(item)
            if waiting and size + more >= MESSAGE_BYTES:
                yield waiting
                waiting, size = [], 0
            waiting.append(item)
            size += more
    if waiting:
        yield waiting


async def counted_messages(
    batches: AsyncIterable[Iterable[T]], count: int
) -> AsyncIterator[list[T]]:
    """Items in lists of `count`, and the rest; nothing for no items."""
    waiting: list[T] = []
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
