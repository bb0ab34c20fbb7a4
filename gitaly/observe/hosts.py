"""Under which names a page may be looked at.

Somebody who makes the name of his own site lead to the address of a node lets the browser of an
operator who visits him read the node's pages: for the browser both are one site. What tells them
apart is the name, in the header `Host`. Addresses and `localhost` belong to nobody's site.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

LOCAL: Final = "localhost"
REFUSAL: Final = (
    "This page is shown under an address of the node, as localhost, under the name of its machine,"
    " and under the names in prometheus.status_page_hosts of its configuration;"
    " the name in this request is none of them.\n"
)


def plain_host(header: str) -> str:
    """The name or address in a `Host` header, without port, brackets and the dot at its end."""
    host = header.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return host.removesuffix(".").lower()


class KnownHosts:
    """The names of one node."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(plain_host(name) for name in names) - {""} | {LOCAL}

    def knows(self, header: str | None) -> bool:
        """Whether a request with this header may be answered. None: it has none, and so does not
        come from a browser."""
        if header is None:
            return True
        host = plain_host(header)
        return host in self._names or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
