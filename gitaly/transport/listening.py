"""Sockets that listen on an address of ours."""

import contextlib
import os
import socket
import stat
from typing import Final

from gitaly.errors import NodeError
from gitaly.ports import is_port, split_address

BACKLOG: Final = 1024


class CannotListen(NodeError):
    """An address cannot be listened on; the text says which and why."""


def listen_on_port(address: str) -> socket.socket:
    """Listen on "host:port"; without a host, or on "::", for both families.

    Raises CannotListen or OSError."""
    host, port = split_address(address)
    if not is_port(port):
        raise CannotListen(f'listen on {address}: "{port}" is not a port')
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    found.sort(key=lambda entry: (entry[0] == socket.AF_INET6) == bool(host))
    family, _, _, _, where = found[0]
    if not host and not _has_ipv6():
        family, _, _, _, where = found[-1]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host not in ("", "::"))
            )
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _has_ipv6() -> bool:
    """Whether the kernel has it: names resolve to such addresses also where it does not."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def listen_on_path(path: str) -> socket.socket:
    """Replace the socket of a dead process; leave one alone behind which somebody answers.

    Raises CannotListen or OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise CannotListen(f"listen on {path}: exists and is not a socket")
        if _answers(path):
            raise CannotListen(f"listen on {path}: another process listens there")
        os.unlink(path)
    return listen_on_new_path(path)


def listen_on_new_path(path: str) -> socket.socket:
    """Listen on a path that nobody uses, or on an abstract name. Raises OSError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(path)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _answers(path: str) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(1)
        probe.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    finally:
        probe.close()
    return True
