"""Listening sockets that the node did not open: systemd's, or those of the process before it.

Source: sd_listen_fds(3), systemd.socket(5).
"""

import os
import socket
import stat
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Final

from gitaly.errors import NodeError

FIRST_DESCRIPTOR: Final = 3
# What FileDescriptorName= may say, and what the configuration calls it.
KEYS: Final = {
    "unix": "socket_path",
    "tcp": "listen_addr",
    "tls": "tls_listen_addr",
    "metrics": "prometheus_listen_addr",
}
KINDS: Final = {**{kind: kind for kind in KEYS}, **{key: kind for kind, key in KEYS.items()}}


class BadInheritance(NodeError):
    """A socket that was passed to the node is not what the configuration wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """One listening socket."""

    socket: socket.socket
    name: str  # what FileDescriptorName= says
    is_kept: bool  # systemd has it, too: its path is not ours to remove
    kind: str = ""  # what the predecessor used it for; empty: systemd's
    configured: str = ""  # as the predecessor's configuration has the address

    @property
    def address(self) -> str:
        """Where it listens: "/run/gitaly.socket", "127.0.0.1:8075", "[::]:8075"."""
        return shown(self.socket)


def shown(listening: socket.socket) -> str:
    """The address of a socket in the way in which configurations have it."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return os.fsdecode(name) if isinstance(name, bytes) else str(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def taken_from(environment: MutableMapping[str, str], pid: int) -> list[Inherited]:
    """What systemd has passed to this process; its variables are removed from the environment.

    Raises BadInheritance, e.g. for a socket that does not listen.
    """
    owner = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    environment.pop("LISTEN_PIDFDID", None)
    if owner != str(pid) or not count.isdecimal():
        return []
    names += ["unknown"] * (int(count) - len(names))
    found = []
    try:
        for number, name in zip(range(int(count)), names, strict=False):
            found += [_adopted(FIRST_DESCRIPTOR + number, name)]
    except BaseException:
        for inherited in found:
            inherited.socket.close()
        raise
    return found


def _adopted(descriptor: int, name: str) -> Inherited:
    described = f'descriptor {descriptor} ("{name}"), which systemd passes,'
    try:
        os.set_inheritable(descriptor, False)
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError as error:
        raise BadInheritance(f"{described} cannot be used: {error.strerror}") from error
    if not is_socket:
        raise BadInheritance(f"{described} is no socket: a node takes stream sockets only")
    adopted = socket.socket(fileno=descriptor)
    problem = _problem(adopted)
    if problem:
        adopted.close()
        raise BadInheritance(f"{described} {problem}")
    return Inherited(socket=adopted, name=name, is_kept=True)


def _problem(adopted: socket.socket) -> str:
    if adopted.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        return "is neither a unix nor an IP socket"
    if adopted.type != socket.SOCK_STREAM:
        return "is no stream socket: say ListenStream= in the socket unit"
    if not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: say Accept=no in the socket unit"
    return ""


class Inheritance:
    """The sockets that a node may take over, until all listeners have theirs."""

    def __init__(self, sockets: Iterable[Inherited] = ()) -> None:
        self._sockets = list(sockets)
        self._wanted: list[str] = []  # what listeners have asked for, for error texts
        self.unwanted: list[tuple[str, str]] = []  # kind and address of the predecessor's; settled

    def take(self, kind: str, configured: str) -> Inherited | None:
        """The socket of a listener, if there is one: "tcp", "127.0.0.1:8075". It is the caller's.

        Raises BadInheritance if one is named after the listener and listens elsewhere.
        """
        self._wanted.append(f'{KEYS[kind]} = "{configured}"')
        found = self._same(kind, configured) or self._named(kind, configured)
        if found is None:
            for inherited in self._sockets:
                is_meant = KINDS.get(inherited.name, kind) == kind
                if is_meant and matches(inherited.socket, kind, configured):
                    found = inherited
                    break
        if found is not None:
            self._sockets.remove(found)
        return found

    def _same(self, kind: str, configured: str) -> Inherited | None:
        """What the predecessor had for the same line of its configuration."""
        for inherited in self._sockets:
            if (inherited.kind, inherited.configured) == (kind, configured):
                return inherited
        return None

    def _named(self, kind: str, configured: str) -> Inherited | None:
        for inherited in self._sockets:
            if inherited.kind or KINDS.get(inherited.name) != kind:
                continue
            if matches(inherited.socket, kind, configured):
                return inherited
            raise BadInheritance(
                f"systemd passes {inherited.address} as FileDescriptorName={inherited.name}, but"
                f' the configuration has {KEYS[kind]} = "{configured}": make both the same'
            )
        return None

    def settle(self) -> None:
        """All listeners have what they want. Raises BadInheritance if systemd passes more: a
        client that connects there would wait for ever.

        What a predecessor passes and nobody wants is left to him; he will close it.
        """
        left = [inherited for inherited in self._sockets if not inherited.kind]
        self.unwanted = [(x.kind, x.configured) for x in self._sockets if x.kind]
        names = ", ".join(f'{x.address} ("{x.name}")' for x in left)
        self.close()
        if left:
            raise BadInheritance(
                f"systemd passes sockets that no listener is configured for: {names}; the"
                f" configuration has {', '.join(self._wanted) or 'no listeners'}"
            )

    def close(self) -> None:
        """Close what nobody has taken."""
        for inherited in self._sockets:
            inherited.socket.close()
        self._sockets.clear()


def matches(listening: socket.socket, kind: str, configured: str) -> bool:
    """Whether a socket listens where the configuration says."""
    if kind == "unix":
        is_unix = listening.family == socket.AF_UNIX
        return is_unix and os.path.realpath(shown(listening)) == os.path.realpath(configured)
    if listening.family == socket.AF_UNIX:
        return False
    host, _, port = configured.rpartition(":")
    host = host.strip("[]")
    name = listening.getsockname()
    if not host and name[0] not in ("::", "0.0.0.0"):  # noqa: S104  # compared, not bound
        return False
    try:
        found = socket.getaddrinfo(
            host or name[0], port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return False
    # Port 0 is any: who writes it leaves the choice to others.
    return any(place[0] == name[0] and place[1] in (0, name[1]) for family, _, _, _, place in found)
