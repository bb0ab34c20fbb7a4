"""A connection to a node: calls, and calls with a sidechannel."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from gitaly.client.calls import CallFailed, Metadata, unary
from gitaly.client.sidechannels import Offer, Sidechannels
from gitaly.tasks import background
from gitaly.transport.channel import Channel
from gitaly.transport.sidechannel import SidechannelFailed

M = TypeVar("M", bound=Message)

# How long the last words of a call that has failed may take, and its error after its stream.
LAST_WORDS_SECONDS: Final = 5


class NodeConnection:
    """Made by `dial`. Methods are named in full: "/gitaly.RefService/RefExists"."""

    def __init__(
        self,
        channel: grpc.Channel,
        sidechannels: Sidechannels,
        metadata: Callable[[], Metadata],  # of every call; tokens grow old
    ) -> None:
        self.channel = channel
        self._sidechannels = sidechannels
        self.metadata = metadata

    async def unary(
        self, method: str, request: Message, answer: type[M], extra: Metadata = ()
    ) -> M:
        """Ask once. Raises CallFailed."""
        return await unary(self.channel, method, request, answer, [*self.metadata(), *extra])

    async def with_sidechannel(
        self,
        method: str,
        request: Message,
        answer: type[M],
        serve: Callable[[Channel], Awaitable[None]],  # until the node says no more
    ) -> M:
        """Ask once, and serve the stream that the node opens for it.

        Raises CallFailed, what `serve` raises, or SidechannelFailed if the node opened none.
        """
        with self._sidechannels.offer() as offer:
            asking = self.unary(method, request, answer, offer.metadata)
            async with (
                background(_serving(offer, serve)) as serving,
                background(asking) as call,
            ):
                return await _both(call, serving, offer)


async def _serving(offer: Offer, serve: Callable[[Channel], Awaitable[None]]) -> None:
    channel = await offer.opened
    try:
        await serve(channel)
    except BaseException:
        channel.abort()  # stops git at the node
        raise
    channel.finish()


async def _both(call: asyncio.Task[M], serving: asyncio.Task[None], offer: Offer) -> M:
    await asyncio.wait({call, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not call.done():
        await _stream_ended(call, serving)
    try:
        answer = await call
    except CallFailed:
        if offer.opened.done():  # what git said of it is still on its way
            await asyncio.wait({serving}, timeout=LAST_WORDS_SECONDS)
        raise
    if not offer.opened.done():
        raise SidechannelFailed("sidechannel: callback de-registered without having run")
    await serving
    return answer


async def _stream_ended(call: asyncio.Task[M], serving: asyncio.Task[None]) -> None:
    """The stream is over before the call. If it broke off, the call knows better why."""
    error = serving.exception()
    if error is None:
        return
    if isinstance(error, ConnectionResetError):
        await asyncio.wait({call}, timeout=LAST_WORDS_SECONDS)
        if call.done():
            with contextlib.suppress(CallFailed):
                call.result()
            return
    raise error
