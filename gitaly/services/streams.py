"""Streams of requests, of which the first says what is wanted and the others carry bytes."""

from collections.abc import AsyncIterator
from typing import TypeVar

from google.protobuf.message import Message

from gitaly.errors import Internal

M = TypeVar("M", bound=Message)


async def first_request(requests: AsyncIterator[M]) -> M:
    """The first message. Raises Internal if the client ends the stream without one."""
    try:
        return await anext(requests)
    except StopAsyncIteration:
        raise Internal("EOF") from None


async def inputs(requests: AsyncIterator[M], field: str) -> AsyncIterator[bytes]:
    """The bytes in one field of the messages that follow; empty ones are left out."""
    async for request in requests:
        data: bytes = getattr(request, field)
        if data:
            yield data
