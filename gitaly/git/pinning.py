"""Pinning a remote's URL to an address that somebody has judged safe.

Between that judgement and git's own look-up of the name, the name may come to mean another
address. Source of the rules: Gitaly, internal/git/gitcmd/command_resolve.go; that an SSH URL keeps
its port, and that IPv6 addresses get brackets, is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gitaly.errors import InvalidRequest

_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443, "git": 9418})


@dataclass(frozen=True, slots=True)
class PinnedUrl:
    """What git is told instead."""

    url: str
    config: tuple[tuple[str, str], ...] = ()


def pinned(url: str, address: str) -> PinnedUrl:
    """`url` with connections to `address` only; an empty address pins nothing.

    Raises InvalidRequest.
    """
    if not address:
        return PinnedUrl(url)
    try:
        numeric = ip_address(address)
    except ValueError:
        raise _refused("resolved address has invalid IPv4/IPv6 address") from None
    host = f"[{address}]" if numeric.version == 6 else address
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme in _PORTS:
        parts = _parts(url)
        return PinnedUrl(
            url,
            (("http.curloptResolve", f"{parts.hostname}:{parts.port or _PORTS[scheme]}:{host}"),),
        )
    if scheme == "ssh":
        parts = _parts(url)
        user, at, _ = parts.netloc.rpartition("@")
        port = f":{parts.port}" if parts.port else ""
        return PinnedUrl(parts._replace(netloc=f"{user}{at}{host}{port}").geturl())
    return PinnedUrl(_pinned_scp(url, host))


def _pinned_scp(url: str, host: str) -> str:
    """Of `[user@]host:path`."""
    before, colon, path = url.partition(":")
    if not colon:
        raise _refused(f"invalid protocol/URL encountered: {url}")
    if "/" in before:
        raise _refused("SSH URLs with '/' before colon are unsupported")
    user, at, _ = before.rpartition("@")
    return f"{user}{at}{host}:{path}"


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - looked at for its error
    except ValueError as error:
        raise _refused(f"couldn't parse remoteURL: {error}") from None
    if not parts.hostname:
        raise _refused("couldn't parse remoteURL: no host in it")
    return parts


def _refused(problem: str) -> InvalidRequest:
    return InvalidRequest(f"couldn't get curloptResolve config: {problem}")
