"""Connections as the node knows them: who is at the other end, and what may be opened to it."""

import itertools
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from gitaly.transport.mux import MuxSession
from gitaly.transport.tls_wire import TransportWire
from gitaly.transport.wire import SocketWire


@dataclass(slots=True, kw_only=True, eq=False)
class Connection:
    """One accepted connection."""

    is_internal: bool  # of our own hooks
    peer_address: str  # "127.0.0.1:4711"; empty for a unix socket
    wire: SocketWire | TransportWire
    is_identified: bool = False  # it is carried to the gRPC core
    session: MuxSession | None = None  # None: plain gRPC
    core_name: str = ""  # what the gRPC core calls its end of our relay

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

    def __len__(self) -> int:
        return len(self._by_core_name)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_core_name.values()))

    def add(
        self, *, is_internal: bool, peer_address: str, wire: SocketWire | TransportWire
    ) -> Connection:
        """Take note of an accepted connection."""
        name = f"{self._prefix}{next(self._numbers)}"
        connection = Connection(
            is_internal=is_internal,
            peer_address=peer_address,
            wire=wire,
            core_name=name,
        )
        self._by_core_name[f"unix-abstract:{name}"] = connection
        return connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._by_core_name.pop(f"unix-abstract:{connection.core_name}", None)

    def by_peer(self, peer: str) -> Connection | None:
        """The connection that a call came in on, by what grpc says of the peer."""
        return self._by_core_name.get(peer) or self._by_core_name.get(peer.replace("%00", ""))
