"""The node's end of a sidechannel: opened on the session that a call came in on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gitaly.errors import Internal
from gitaly.transport.channel import Channel
from gitaly.transport.mux import MuxSession
from gitaly.transport.sidechannel import (
    InputDecoder,
    ServerHandshake,
    SidechannelBroken,
    SidechannelFailed,
    parse_id,
)
from gitaly.transport.wire import Buffer
from gitaly.transport.yamux_frames import CannotOpen

OPENING_SECONDS: Final = 5  # for the whole exchange. Source: internal/grpc/sidechannel


class ServerSidechannel:
    """Framed input from the client, raw output to it."""

    def __init__(self, channel: Channel, first: memoryview) -> None:
        self._channel = channel
        self._first = bytes(first)

    @property
    def received_bytes(self) -> int:
        """From the client so far, framing included."""
        return self._channel.received_bytes

    @property
    def sent_bytes(self) -> int:
        """To the client so far, or waiting for it."""
        return self._channel.sent_bytes

    async def input(self) -> AsyncIterator[memoryview]:
        """What git shall read, up to the client's end of input; each piece valid until the next.

        Raises SidechannelBroken or ConnectionError if the client goes away before that, and
        SidechannelFailed for nonsense.
        """
        decoder = InputDecoder()
        data = self._first or await self._channel.read()
        while data:
            for piece in decoder.receive(memoryview(data)):
                yield piece
            if decoder.is_ended:
                return
            data = await self._channel.read()
        decoder.at_end()

    async def room(self, at_least: int = 1) -> int:
        """How much the client takes now; waits for it. Raises ConnectionError."""
        return await self._channel.room(at_least)

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Send at most `room` bytes; more are copied and wait. Raises ConnectionError."""
        self._channel.write(buffers)


@asynccontextmanager
async def open_sidechannel(
    session: MuxSession | None, given_id: str | None
) -> AsyncIterator[ServerSidechannel]:
    """Open it, and close it at the end of the block, whatever happened there.

    `session` None: the call did not come over a multiplexed connection. `given_id`: the last
    value of the call's metadata; None: there is none.
    Raises SidechannelBroken (trying again may help), else SidechannelFailed or Internal.
    """
    if given_id is None:
        raise Internal("sidechannel: sidechannel-id not found in incoming metadata")
    if session is None:
        raise SidechannelFailed(
            "sidechannel: fail to extract yamux session: non-multiplexed connection"
        )
    try:
        channel = Channel(session.open_stream())
    except (CannotOpen, ConnectionError) as error:
        raise SidechannelBroken(f"sidechannel: open stream: {error}") from error
    try:
        yield ServerSidechannel(channel, await _agree(channel, parse_id(given_id)))
    finally:
        channel.finish()


async def _agree(channel: Channel, sidechannel_id: int) -> memoryview:
    """Exchange greeting and "ok"; what came behind the "ok"."""
    handshake = ServerHandshake(sidechannel_id)
    try:
        async with asyncio.timeout(OPENING_SECONDS):
            channel.write((handshake.greeting,))
            while data := await channel.read():
                rest = handshake.receive(memoryview(data))
                if rest is not None:
                    return rest
    except TimeoutError as error:
        raise SidechannelBroken("sidechannel: receive confirmation: i/o timeout") from error
    except ConnectionError as error:
        raise SidechannelBroken(f"sidechannel: receive confirmation: {error}") from error
    raise handshake.at_end()
