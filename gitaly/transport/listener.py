"""Accepts connections on one address."""

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

from gitaly.observe.log import Logger
from gitaly.transport.accepting import Accepting
from gitaly.transport.connections import Connections
from gitaly.transport.listening import CannotListen, listen_on_path, listen_on_port
from gitaly.transport.newcomer import HANDSHAKE_SECONDS, Newcomer, Reception, Server

__all__ = ["CannotListen", "Endpoint", "Listener"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to listen."""

    kind: str  # "tcp", "tls", "unix"
    address: str  # "host:port", or the path of a socket
    tls: ssl.SSLContext | None = None
    is_internal: bool = False  # for hooks of our own git children
    inherited: socket.socket | None = None  # it listens there already
    is_kept: bool = False  # somebody else has the inherited socket, too: its path stays


class Listener:
    """One listening socket."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        server: Server,
        connections: Connections,
        on_accept: Callable[[str], None],  # counts, by kind
        logger: Logger,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self._reception = Reception(
            server=server,
            connections=connections,
            logger=logger,
            tls=endpoint.tls,
            is_internal=endpoint.is_internal,
            handshake_seconds=handshake_seconds,
        )
        self._on_accept = on_accept
        self._logger = logger
        self._listening: socket.socket | None = endpoint.inherited
        self._accepting: Accepting | None = None
        self._identity: tuple[int, int] | None = None

    def adopt(self, tls: ssl.SSLContext) -> None:
        """Another certificate for handshakes that begin from now on; connections stay."""
        self._reception = replace(self._reception, tls=tls)

    @property
    def port(self) -> int:
        """The TCP port that is listened on; useful where port 0 was asked for."""
        return int(self.listening.getsockname()[1])

    @property
    def listening(self) -> socket.socket:
        """What listens, once it is bound."""
        assert self._listening is not None
        return self._listening

    def open(self) -> None:
        """Listen, and accept whoever comes. Raises CannotListen."""
        self.bind()
        self.accept()

    def bind(self) -> None:
        """Listen; who comes waits until `accept`. Raises CannotListen."""
        address = self.endpoint.address
        try:
            if self._listening is None:
                is_path = self.endpoint.kind == "unix"
                self._listening = listen_on_path(address) if is_path else listen_on_port(address)
            if self.endpoint.inherited is None:
                self.own_path()
        except OSError as error:
            raise CannotListen(f"listen on {address}: {error.strerror or error}") from error
        self._logger.info("listening at address", address=address, schema=self.endpoint.kind)

    def own_path(self) -> None:
        """The path of a unix socket is ours to remove: we have made it, or taken it over."""
        if self.endpoint.kind == "unix" and not self.endpoint.is_kept:
            with contextlib.suppress(OSError):  # somebody has removed it already
                self._identity = _identity(self.endpoint.address)

    def accept(self) -> None:
        """Accept whoever comes, and has come since `bind` or `pause`."""
        if self._accepting is None:
            self._accepting = Accepting(self.listening, self._begin, self._cannot_accept)
        else:
            self._accepting.resume()

    def pause(self) -> None:
        """Accept nobody until `accept`, and refuse nobody."""
        if self._accepting is not None:
            self._accepting.pause()

    def close(self, *, is_passed_on: bool = False) -> None:
        """Accept nothing more; what is accepted goes on. The socket's path is removed, unless
        another process goes on to listen there."""
        if self._accepting is not None:
            self._accepting.close()
        elif self._listening is not None:
            self._listening.close()
        self._accepting, self._listening = None, None
        if self._identity is not None and not is_passed_on:
            with contextlib.suppress(OSError):
                if _identity(self.endpoint.address) == self._identity:  # a stranger's stays
                    os.unlink(self.endpoint.address)
        self._identity = None

    def _cannot_accept(self, error: OSError) -> None:
        self._logger.error("cannot accept a connection", error=str(error))

    def _begin(self, accepted: socket.socket, address: object) -> None:
        self._on_accept(self.endpoint.kind)
        peer = ""
        if self.endpoint.kind != "unix" and isinstance(address, tuple):
            peer = _peer_text(*address[:2])
            with contextlib.suppress(OSError):  # it is gone already; reading will tell
                _tune(accepted)
        Newcomer(accepted, peer, self._reception)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _peer_text(host: str, port: int) -> str:
    host = host.removeprefix("::ffff:")  # IPv4, seen through a socket of both families
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tune(accepted: socket.socket) -> None:
    """No delay for small frames; notice clients that are gone without a word."""
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
