"""Two yamux sessions of ours that speak over a real socket, and a peer that writes raw frames."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.mux_sizes import MuxSizes
from gitaly.transport.wire import SocketWire
from gitaly.transport.yamux_frames import NODE_LIMITS, Limits
from tests.transport.wires import Notes, unix_pair, until


class Side:
    """One session and what happens to it."""

    def __init__(self, connected: socket.socket, *, is_client: bool, limits: Limits) -> None:
        self.opened: list[MuxStream] = []
        self.ended: list[Exception | None] = []
        self.wire = SocketWire(connected)
        self.sizes = MuxSizes()
        self.session = MuxSession(
            self.wire,
            is_client=is_client,
            limits=limits,
            on_stream=self._opened,
            on_end=self.ended.append,
            sizes=self.sizes,
        )
        self.session.start()

    def _opened(self, stream: MuxStream) -> None:
        self.session.accept(stream)
        stream.user = Notes()
        self.opened.append(stream)

    async def stream(self, number: int = 0) -> tuple[MuxStream, Notes]:
        """A stream that the other side has opened."""
        await until(lambda: len(self.opened) > number)
        stream = self.opened[number]
        assert isinstance(stream.user, Notes)
        return stream, stream.user


@asynccontextmanager
async def two_sides(client_limits: Limits | None = None) -> AsyncIterator[tuple[Side, Side]]:
    """A node and its client."""
    ours, theirs = unix_pair()
    theirs.setblocking(False)
    node = Side(ours, is_client=False, limits=NODE_LIMITS)
    client = Side(theirs, is_client=True, limits=client_limits or Limits())
    yield node, client
    node.session.close()
    client.session.close()
    await asyncio.sleep(0)


@asynccontextmanager
async def node_and_raw_peer() -> AsyncIterator[tuple[Side, socket.socket]]:
    """A node and a blocking socket that may say anything."""
    ours, peer = unix_pair()
    node = Side(ours, is_client=False, limits=NODE_LIMITS)
    with peer:
        yield node, peer
    await until(lambda: node.session.is_lost)
    await asyncio.sleep(0)
