"""Connections as the node knows them: who is at the other end, and what may be opened to it."""

import itertools
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gitaly.transport.mux import MuxSession
from gitaly.transport.relay import Relay
from gitaly.transport.tls_wire import TransportWire
from gitaly.transport.wire import SocketWire


@dataclass(slots=True, kw_only=True, eq=False)
class Connection:
    """One accepted connection."""

    number: int  # from 1, never used again
    is_internal: bool  # of our own hooks
    peer_address: str  # "127.0.0.1:4711"; empty for a unix socket
    wire: SocketWire | TransportWire
    is_identified: bool = False  # it is carried to the gRPC core
    session: MuxSession | None = None  # None: plain gRPC
    relay: Relay | None = None  # once it is identified
    core_name: str = ""  # what the gRPC core calls its end of our relay
    at_end: list[Callable[[], None]] = field(default_factory=list)  # called once it is gone

    @property
    def backchannel_id(self) -> int:
        """By which others name the way back to this client; 0: there is none."""
        return 0 if self.session is None else self.number

    @property
    def is_delivered(self) -> bool:
        """Whether the client has everything that was said to it."""
        return self.wire.is_delivered and not (self.session and self.session.is_waiting)


class Connections:
    """All open connections of a node.

    A handler finds its connection by the name of the socket on which the core sees the relay:
    each relay is bound to an abstract name of its own, which grpc reports as `context.peer()`.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._prefix = f"gitaly-{os.getpid()}-{secrets.token_hex(8)}-"
        self._by_core_name: dict[str, Connection] = {}
        self._by_number: dict[int, Connection] = {}
        self._carriers: set[SocketWire] = set()

    def __len__(self) -> int:
        return len(self._by_core_name)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_core_name.values()))

    def add(
        self, *, is_internal: bool, peer_address: str, wire: SocketWire | TransportWire
    ) -> Connection:
        """Take note of an accepted connection."""
        number = next(self._numbers)
        name = f"{self._prefix}{number}"
        connection = Connection(
            number=number,
            is_internal=is_internal,
            peer_address=peer_address,
            wire=wire,
            core_name=name,
        )
        self._by_core_name[f"unix-abstract:{name}"] = connection
        self._by_number[number] = connection
        return connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone, and tell those who count on it."""
        self._by_core_name.pop(f"unix-abstract:{connection.core_name}", None)
        self._by_number.pop(connection.number, None)
        for ended in connection.at_end:
            ended()
        connection.at_end.clear()

    def carrier(self, far: socket.socket) -> SocketWire:
        """The wire between a relay and the gRPC core, on a socket that is connected to it.

        It may outlive its connection: what the client said last is still to be read.
        """
        wire = SocketWire(far, on_closed=lambda: self._carriers.discard(wire))
        self._carriers.add(wire)
        return wire

    def abort(self) -> None:
        """Drop all connections, and what carries them: nobody serves any more."""
        for connection in self:
            connection.wire.abort()
        for wire in list(self._carriers):
            wire.abort()

    def by_peer(self, peer: str) -> Connection | None:
        """The connection that a call came in on, by what grpc says of the peer."""
        return self._by_core_name.get(peer) or self._by_core_name.get(peer.replace("%00", ""))

    def by_number(self, number: int) -> Connection | None:
        """The connection of a number, while it lives."""
        return self._by_number.get(number)
