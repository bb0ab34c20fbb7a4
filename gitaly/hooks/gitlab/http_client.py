"""One HTTP exchange at a time, each on a connection of its own, on the event loop.

A connection for each exchange because the reference does so, and because nothing of a push then
depends on what an idle connection has become. No proxy of the environment is used.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final

from gitaly.hooks.gitlab.endpoint import BadUrl, Endpoint
from gitaly.hooks.gitlab.http_wire import ProtocolError, Request, Response, ResponseReader

PIECE_BYTES: Final = 65536
MOST_REDIRECTS: Final = 10
# A server that restarts refuses connections for a moment. Nothing was said on them, so that a new
# attempt cannot ask for anything twice.
PAUSES_SECONDS: Final = (0.05, 0.2)
_GET_AFTER: Final = (301, 302, 303)
_SAME_AFTER: Final = (307, 308)
Headers = Sequence[tuple[str, str]]


class Unreachable(Exception):
    """No answer: the text says why, and never goes to a client."""


class HttpClient:
    """Dials, asks, listens. Holds no connection between two exchanges."""

    def __init__(
        self, tls: ssl.SSLContext | None, seconds: float, pauses: Sequence[float] = PAUSES_SECONDS
    ) -> None:
        """`tls`: None is enough where no https URL is asked. `seconds`: for one exchange."""
        self._tls = tls
        self._seconds = seconds
        self._pauses = pauses

    async def exchange(
        self, method: str, endpoint: Endpoint, headers: Headers = (), body: bytes = b""
    ) -> Response:
        """Ask, follow redirections as browsers do, and return the last answer.

        Raises Unreachable, also if it takes longer than the client was told to wait.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(method, endpoint, headers, body)
        except TimeoutError as error:
            raise Unreachable(f"no answer within {self._seconds:g} seconds") from error
        except (OSError, ProtocolError, BadUrl, ValueError) as error:
            raise Unreachable(str(error) or type(error).__name__) from error

    async def _follow(
        self, method: str, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Response:
        for _ in range(MOST_REDIRECTS + 1):
            response = await self._ask(method, endpoint, headers, body)
            location = response.headers.get("location")
            if location is None or response.status not in _GET_AFTER + _SAME_AFTER:
                return response
            if response.status in _GET_AFTER:
                method, body = "GET", b""
            target = endpoint.redirected(location)
            if target.authority != endpoint.authority:  # a password is for one server only
                headers = [h for h in headers if h[0].lower() != "authorization"]
            endpoint = target
        raise Unreachable(f"stopped after {MOST_REDIRECTS} redirects")

    async def _ask(
        self, method: str, endpoint: Endpoint, headers: Headers, body: bytes
    ) -> Response:
        request = Request(
            method=method,
            host=endpoint.authority,
            target=endpoint.path or "/",
            headers=headers,
            body=body,
        )
        said = request.encode()
        reader, writer = await self._connect(endpoint)
        try:
            writer.write(said)
            answer = ResponseReader(method)
            while piece := await reader.read(PIECE_BYTES):
                if (response := answer.receive(piece)) is not None:
                    return response
            return answer.at_end()
        finally:
            writer.transport.abort()  # everything was said; nobody need wait for a farewell

    async def _connect(
        self, endpoint: Endpoint
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for pause in self._pauses:
            try:
                return await self._dial(endpoint)
            except (ConnectionRefusedError, FileNotFoundError):
                await asyncio.sleep(pause)
        return await self._dial(endpoint)

    async def _dial(self, endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if endpoint.socket_path:
            return await asyncio.open_unix_connection(endpoint.socket_path)
        if endpoint.scheme == "https":
            if self._tls is None:
                raise BadUrl(f"no TLS for {endpoint.url}")
            return await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=self._tls, server_hostname=endpoint.host
            )
        return await asyncio.open_connection(endpoint.host, endpoint.port)
