"""Addresses to listen on, as configurations have them: "host:port", "[::1]:8075", ":8075"."""

import re
import socket
from typing import Final

HOST: Final = re.compile(r"[A-Za-z0-9._:%-]*")  # a name or an address, with a zone or without
MOST_DIGITS: Final = 5


def split_address(address: str) -> tuple[str, str]:
    """Host and port; no host: every address of the machine."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def is_port(port: str) -> bool:
    """A number, or a service that the machine knows by name, as Go takes it; none is any."""
    if not port:
        return True
    if not port.isascii():
        return False
    if port.isdigit():
        return len(port.lstrip("0")) <= MOST_DIGITS and int(port) < 1 << 16
    try:
        socket.getservbyname(port, "tcp")
    except OSError:
        return False
    return True


def is_host(host: str) -> bool:
    """Whether it could be a name or an address; nobody is asked for it."""
    return HOST.fullmatch(host) is not None
