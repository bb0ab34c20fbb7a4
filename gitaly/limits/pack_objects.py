"""How many packs one client may have computed at once.

Only computing a pack is limited; serving one that is there already is not.
Source: Gitaly, internal/gitaly/service/hook/pack_objects.go, internal/limiter/dual_limiter.go.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

from gitaly.limits.limiter import Turn
from gitaly.limits.per_rpc import MethodLimits


class PackObjectsLimiter:
    """The queues in front of `git pack-objects`, one for each address of a client."""

    def __init__(self, limits: MethodLimits) -> None:
        self.limits = limits

    def adopt(self, limits: MethodLimits) -> None:
        """Others for those who come from now on."""
        self.limits = limits

    @asynccontextmanager
    async def slot(self, remote_ip: str, *, has_username: bool) -> AsyncIterator[Turn | None]:
        """A place for the length of the block; None: this client is not limited.

        `remote_ip`: as the client's proxy gave it, with or without a port. `has_username`: whether
        it gave a name of a user too, be it empty. Raises, at the entrance only, Refused, and
        LeftQueue if it is cancelled while it waits.
        """
        key = client_of(remote_ip)
        limiter = self.limits.limiter(has_username=has_username, tells_apart=True)
        if not key or limiter is None:
            yield None
            return
        async with limiter.slot(key) as turn:
            yield turn


def client_of(remote_ip: str) -> str:
    """The canonical form of "ADDRESS" or "ADDRESS:PORT"; empty: not to be limited.

    That is whatever is no address, and loopback: there it is another program of this machine that
    speaks for many.
    """
    address = _address(remote_ip) or _address(_without_port(remote_ip))
    return "" if address is None or address.is_loopback else str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    if "%" in text:  # an address of one link says nothing elsewhere
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _without_port(text: str) -> str:
    host, colon, _ = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]") if colon else ""
