"""Where an HTTP server is: from the forms of `gitlab.url` to something that can be dialled."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from gitaly.errors import NodeError

API_PATH: Final = "/api/v4/internal"
_UNIX: Final = "http+unix://"
_PORTS: Final = {"http": 80, "https": 443}


class BadUrl(NodeError):
    """A URL that cannot be dialled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server and the path that all requests to it begin with."""

    scheme: str  # "http", "https"
    authority: str  # as the Host header says it
    host: str
    port: int
    path: str = ""
    socket_path: str = ""  # dialled instead of host and port

    @property
    def url(self) -> str:
        """As the log shows it; without user and password, which are never part of it."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def below(self, path: str) -> "Endpoint":
        """The same server, with more of a path."""
        return self._with_path(self.path + path)

    def redirected(self, location: str) -> "Endpoint":
        """Where a redirection of a request to this URL leads. Raises BadUrl.

        A server behind a unix socket is never left for another address.
        """
        target = web_endpoint(urljoin(self.url, location))
        return self._with_path(target.path) if self.socket_path else target

    def _with_path(self, path: str) -> "Endpoint":
        return Endpoint(
            scheme=self.scheme,
            authority=self.authority,
            host=self.host,
            port=self.port,
            path=path,
            socket_path=self.socket_path,
        )


def api_endpoint(url: str, relative_url_root: str = "") -> Endpoint:
    """The internal API. Raises BadUrl.

    The URL is decoded once, so that the path of a socket may be written with %2F. The root counts
    for sockets only. Source: Gitaly, internal/gitlab/client/httpclient.go.
    """
    decoded = unquote(url)
    if decoded.startswith(_UNIX):
        root = relative_url_root.strip("/")
        return _socket(decoded, (f"/{root}" if root else "") + API_PATH)
    if not decoded.startswith(("http://", "https://")):
        raise BadUrl("unknown GitLab URL prefix")
    return web_endpoint(decoded).below(API_PATH)


def url_endpoint(url: str) -> Endpoint:
    """An http or https URL, or `http+unix://<socket, / as %2F>/<path>`. Raises BadUrl."""
    if not url.startswith(_UNIX):
        return web_endpoint(url)
    place, slash, path = url.removeprefix(_UNIX).partition("/")
    return _socket(_UNIX + unquote(place), slash + path)


def _socket(url: str, path: str) -> Endpoint:
    socket_path = url.removeprefix(_UNIX)
    if not socket_path.startswith("/"):
        raise BadUrl(f"the path of the socket is not absolute: {url}")
    return Endpoint(
        scheme="http", authority="unix", host="", port=0, path=path, socket_path=socket_path
    )


def web_endpoint(url: str) -> Endpoint:
    """An http or https URL. Raises BadUrl."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadUrl(f"not a URL: {url}: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadUrl(f"not an http or https URL: {url}")
    return Endpoint(
        scheme=parts.scheme,
        authority=parts.netloc.rpartition("@")[2],
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        path=parts.path + (f"?{parts.query}" if parts.query else ""),
    )
