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
from gitaly.transport.newcomer import HANDSHAKE_SECONDS, Newcomer, Reception

__all__ = ["CannotListen", "Endpoint", "Listener"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where to listen."""

    kind: str  # "tcp", "tls", "unix"
    address: str  # "host:port", or the path of a socket
    tls: ssl.SSLContext | None = None
    is_internal: bool = False  # for hooks of our own git children


class Listener:
    """One listening socket."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        core_path: str,  # the unix socket of the gRPC core that serves what is accepted here
        connections: Connections,
        on_accept: Callable[[str], None],  # counts, by kind
        logger: Logger,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self._reception = Reception(
            core_path=core_path,
            connections=connections,
            logger=logger,
            tls=endpoint.tls,
            is_internal=endpoint.is_internal,
            handshake_seconds=handshake_seconds,
        )
        self._on_accept = on_accept
        self._logger = logger
        self._accepting: Accepting | None = None
        self._identity: tuple[int, int] | None = None

    def adopt(self, tls: ssl.SSLContext) -> None:
        """Another certificate for handshakes that begin from now on; connections stay."""
        self._reception = replace(self._reception, tls=tls)

    @property
    def port(self) -> int:
        """The TCP port that is listened on; useful where port 0 was asked for."""
        assert self._accepting is not None
        return int(self._accepting.socket.getsockname()[1])

    def open(self) -> None:
        """Listen. Raises CannotListen."""
        address = self.endpoint.address
        try:
            if self.endpoint.kind == "unix":
                listening = listen_on_path(address)
                self._identity = _identity(address)
            else:
                listening = listen_on_port(address)
        except OSError as error:
            raise CannotListen(f"listen on {address}: {error.strerror or error}") from error
        self._accepting = Accepting(listening, self._begin, self._cannot_accept)
        self._logger.info("listening at address", address=address, schema=self.endpoint.kind)

    def close(self) -> None:
        """Accept nothing more; what is accepted goes on. The socket's path is removed."""
        if self._accepting is None:
            return
        self._accepting.close()
        self._accepting = None
        if self.endpoint.kind == "unix":
            with contextlib.suppress(OSError):
                if _identity(self.endpoint.address) == self._identity:  # a successor's stays
                    os.unlink(self.endpoint.address)

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
