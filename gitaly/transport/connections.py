"""Connections as the node knows them: who is at the other end, and what may be opened to it."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gitaly.transport.http2 import Http2Connection
from gitaly.transport.mux import MuxSession
from gitaly.transport.mux_sizes import MuxSizes
from gitaly.transport.tls_wire import TransportWire
from gitaly.transport.wire import SocketWire


@dataclass(slots=True, kw_only=True, eq=False)
class Connection:
    """One accepted connection."""

    number: int  # from 1, never used again
    is_internal: bool  # of our own hooks
    peer_address: str  # "127.0.0.1:4711"; empty for a unix socket
    wire: SocketWire | TransportWire
    is_identified: bool = False  # it speaks gRPC
    session: MuxSession | None = None  # None: plain gRPC
    http: Http2Connection | None = None  # once something is served on it
    at_end: list[Callable[[], None]] = field(default_factory=list)  # called once it is gone

    @property
    def backchannel_id(self) -> int:
        """By which others name the way back to this client; 0: there is none."""
        return 0 if self.session is None else self.number


class Connections:
    """All open connections of a node."""

    def __init__(self) -> None:
        self.mux_sizes = MuxSizes()
        self._numbers = itertools.count(1)
        self._by_number: dict[int, Connection] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_number.values()))

    def add(
        self, *, is_internal: bool, peer_address: str, wire: SocketWire | TransportWire
    ) -> Connection:
        """Take note of an accepted connection."""
        number = next(self._numbers)
        connection = Connection(
            number=number, is_internal=is_internal, peer_address=peer_address, wire=wire
        )
        self._by_number[number] = connection
        return connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone, and tell those who count on it."""
        self._by_number.pop(connection.number, None)
        for ended in connection.at_end:
            ended()
        connection.at_end.clear()

    def abort(self) -> None:
        """Drop all connections: nobody serves any more."""
        for connection in self:
            connection.wire.abort()

    def by_number(self, number: int) -> Connection | None:
        """The connection of a number, while it lives."""
        return self._by_number.get(number)
