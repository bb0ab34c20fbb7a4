"""Streams that a node opens to its client, each for a call that offered a number.

Source: Gitaly, internal/grpc/sidechannel/{registry,sidechannel}.go.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gitaly.transport.channel import Channel
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.sidechannel import (
    CONFIRMATION,
    METADATA_KEY,
    ClientHandshake,
    SidechannelFailed,
)

OPENING_SECONDS: Final = 5  # for the node's greeting to come


class Offer:
    """A number that a call sends along, and the stream that the node opens for it."""

    def __init__(self, number: int) -> None:
        self.metadata: Final = ((METADATA_KEY, str(number)),)
        self.opened: Final[asyncio.Future[Channel]] = asyncio.get_running_loop().create_future()


class Sidechannels:
    """The offers of one connection."""

    def __init__(self, opening_seconds: float = OPENING_SECONDS) -> None:
        self._opening_seconds = opening_seconds
        self._numbers = itertools.count()
        self._offers: dict[int, Offer] = {}

    @contextmanager
    def offer(self) -> Iterator[Offer]:
        """A new offer, good for the length of the block."""
        number = next(self._numbers)
        offer = self._offers[number] = Offer(number)
        try:
            yield offer
        finally:
            self._offers.pop(number, None)
            offer.opened.cancel()

    def stream_opened(self, session: MuxSession, stream: MuxStream) -> None:
        """The node has opened a stream: find out for which offer."""
        session.accept(stream)
        stream.user = _Greeting(stream, self._take, self._opening_seconds)
        stream.resume_reading()

    def _take(self, number: int) -> Offer | None:
        """The offer with a number; each is taken once, while somebody waits for it."""
        offer = self._offers.pop(number, None)
        return None if offer is None or offer.opened.done() else offer


class _Greeting:
    """The user of a stream until it is known which call it belongs to."""

    def __init__(
        self, stream: MuxStream, take: Callable[[int], Offer | None], seconds: float
    ) -> None:
        self._stream = stream
        self._take = take
        self._handshake = ClientHandshake()
        self._timer = asyncio.get_running_loop().call_later(seconds, stream.abort)

    def bytes_received(self, data: memoryview) -> None:
        try:
            rest = self._handshake.receive(data)
        except SidechannelFailed:  # a gRPC connection to us, perhaps: nothing of ours serves it
            self._stream.abort()
            return
        if rest is None:
            return
        self._timer.cancel()
        assert self._handshake.sidechannel_id is not None
        offer = self._take(self._handshake.sidechannel_id)
        if offer is None:
            self._stream.finish()  # without an "ok"; the node understands
            return
        channel = Channel(self._stream)
        channel.write((CONFIRMATION,))
        if rest:
            channel.bytes_received(rest)
        offer.opened.set_result(channel)

    def eof_received(self) -> None:
        self._stream.abort()

    def writable(self) -> None:
        """Nothing waits to be written."""

    def wire_lost(self, _: Exception | None) -> None:
        self._timer.cancel()
