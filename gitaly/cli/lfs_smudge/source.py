"""LFS objects from GitLab's internal API, one at a time, in pieces.

Source: Gitaly, internal/gitlab/http_client.go (Lfs) and internal/gitlab/client.
"""

import base64
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import unquote, urlencode, urljoin, urlsplit

from gitaly.token import gitlab_token
from gitaly.version import VERSION

PIECE_BYTES: Final = 65536
MOST_REDIRECTS: Final = 10
API_PATH: Final = "/api/v4/internal/lfs"
_UNIX: Final = "http+unix://"
_REDIRECTS: Final = (301, 302, 303, 307, 308)


class Unavailable(Exception):
    """The object is not to be had; the text says why."""


class UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("unix", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Called by the base class when something is to be sent."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Source:
    """Where LFS objects come from."""

    def __init__(self, config: Mapping[str, Any], now: Callable[[], float] = time.time) -> None:
        """`config`: Any, because it is JSON."""
        gitlab = config["gitlab"]
        self._gl_repository: str = config["gl_repository"]
        self._url = unquote(gitlab["url"])
        self._root: str = gitlab.get("relative_url_root", "").strip("/")
        self._http: Mapping[str, Any] = gitlab.get("http_settings", {})
        self._timeout = float(self._http.get("read_timeout") or 300)
        self._secret = _secret(gitlab)
        self._tls: Mapping[str, str] = config.get("tls", {})
        self._now = now

    def fetch(self, object_id: str) -> Iterator[bytes] | None:
        """The object in pieces; None: GitLab does not give it. Raises Unavailable."""
        query = urlencode({"oid": object_id, "gl_repository": self._gl_repository})
        socket_path = self._url.removeprefix(_UNIX) if self._url.startswith(_UNIX) else ""
        if socket_path:
            root = f"/{self._root}" if self._root else ""
            url = f"http://unix{root}{API_PATH}?{query}"
        else:
            url = f"{self._url}{API_PATH}?{query}"
        own = urlsplit(url).netloc
        try:
            for _ in range(MOST_REDIRECTS + 1):
                connection = self._connection(url, socket_path)
                parts = urlsplit(url)
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = self._headers() if parts.netloc == own else {}
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                location = response.getheader("Location")
                if response.status in _REDIRECTS and location:
                    connection.close()
                    url = urljoin(url, location)
                    if urlsplit(url).netloc != own:
                        socket_path = ""
                    continue
                if response.status != 200:
                    connection.close()
                    return None
                return _pieces(connection, response)
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable(str(error) or type(error).__name__) from error
        raise Unavailable(f"stopped after {MOST_REDIRECTS} redirects")

    def _connection(self, url: str, socket_path: str) -> HTTPConnection:
        if socket_path:
            return UnixConnection(socket_path, self._timeout)
        parts = urlsplit(url)
        if parts.scheme == "https":
            return HTTPSConnection(parts.netloc, timeout=self._timeout, context=self._context())
        if parts.scheme != "http":
            raise ValueError("unknown GitLab URL prefix")
        return HTTPConnection(parts.netloc, timeout=self._timeout)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._http.get("ca_file"):
            context.load_verify_locations(cafile=self._http["ca_file"])
        if self._http.get("ca_path"):
            context.load_verify_locations(capath=self._http["ca_path"])
        if self._tls.get("certificate_path") and self._tls.get("key_path"):
            context.load_cert_chain(self._tls["certificate_path"], self._tls["key_path"])
        return context

    def _headers(self) -> dict[str, str]:
        headers = {
            "Gitlab-Shell-Api-Request": gitlab_token(self._secret, int(self._now())),
            "Content-Type": "application/json",
            "User-Agent": f"gitaly/{VERSION}",
            "Connection": "close",
        }
        if os.environ.get("CORRELATION_ID"):
            headers["X-Request-ID"] = os.environ["CORRELATION_ID"]
        if self._http.get("user") and self._http.get("password"):
            credentials = f"{self._http['user']}:{self._http['password']}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
        return headers


def _pieces(connection: HTTPConnection, response: HTTPResponse) -> Iterator[bytes]:
    with closing(connection):
        try:
            while piece := response.read(PIECE_BYTES):
                yield piece
        except (OSError, HTTPException) as error:
            raise Unavailable(str(error) or type(error).__name__) from error
        if response.length:
            raise Unavailable("connection closed before the end of the object")


def _secret(gitlab: Mapping[str, str]) -> bytes:
    if gitlab.get("secret"):
        return gitlab["secret"].encode().strip()
    with open(gitlab["secret_file"], "rb") as file:
        return file.read().strip()
