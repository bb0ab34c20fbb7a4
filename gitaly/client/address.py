"""Where a node listens, as clients are told it. Source: Gitaly, internal/grpc/client/dial.go."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from gitaly.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One node: a path, or a host and a port."""

    path: str = ""  # of a unix socket; empty: TCP
    host: str = ""
    port: int = 0
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix {self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp {host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `unix:PATH`, `unix://PATH`, `tcp://HOST:PORT`, `tls://…`, `dns:HOST:PORT` or
    `dns://[AUTHORITY]/HOST:PORT` (`dns+tls:` likewise).

    The name server of the last form is not asked: the system knows how to resolve names. Raises
    InvalidRequest.
    """
    if not text:
        raise InvalidRequest("gitaly address can not be empty")
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        path = rest.removeprefix("//") if rest.startswith("//") else rest
        if not path:
            raise InvalidRequest(f'invalid address "{text}": no path')
        return Address(path=path)
    if scheme in ("dns", "dns+tls"):
        rest = "//" + (rest[2:].partition("/")[2] if rest.startswith("//") else rest)
    elif scheme not in ("tcp", "tls"):
        raise InvalidRequest(f'unknown scheme: "{text}"')
    return _network(text, rest, tls=scheme in ("tls", "dns+tls"))


def _network(text: str, rest: str, *, tls: bool) -> Address:
    try:
        parts = urlsplit(f"tcp:{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidRequest(f'invalid address "{text}": {error}') from error
    if not host or port is None:
        raise InvalidRequest(f'invalid address "{text}": host and port are needed')
    if parts.path not in ("", "/"):
        raise InvalidRequest(f'invalid address "{text}": {parts.path} has no place in it')
    return Address(host=host, port=port, tls=tls)
