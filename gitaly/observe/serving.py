"""Plain HTTP for people and programs that look at the node, on threads of its own.

So it answers also when the event loop does not, and never stands in its way.
"""

import contextlib
import errno
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler

from gitaly.observe.hosts import REFUSAL, KnownHosts

MOST_CLIENTS: Final = 32  # at once
CLIENT_SECONDS: Final = 30.0  # for a request, and for each piece of an answer to be taken
# When the node ends, or another process takes over. Who has come before is not to be sent away.
SILENT_SECONDS: Final = 0.5  # for those who have not asked yet
END_SECONDS: Final = 2.0  # for the others, and then for their threads
BUSY: Final = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One page."""

    kind: str  # its content type
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)


Pages = Mapping[str, Callable[[], Answer]]  # by path; called on the thread of the request


class _Handler(MetricsHandler):
    """Answers with a page, or with the metrics for every path that is none."""

    pages: Pages
    hosts: KnownHosts | None
    server: "Server"  # type: ignore[assignment]  # not one of socketserver's
    timeout = CLIENT_SECONDS

    def parse_request(self) -> bool:
        is_good = super().parse_request()
        self.server.has_asked(self.request)
        return is_good

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        page = self.pages.get(urlsplit(self.path).path)
        if page is not None:
            self._show(page)
        elif self.registry is None:
            self.send_error(404)
        else:
            super().do_GET()

    def do_HEAD(self) -> None:  # noqa: N802
        page = self.pages.get(urlsplit(self.path).path)
        if page is None:
            self.send_error(405)
        else:
            self._show(page)

    def _show(self, page: Callable[[], Answer]) -> None:
        if self.hosts is None or self.hosts.knows(self.headers.get("Host")):
            self._answer(page())
        else:
            self._answer(Answer(kind="text/plain", body=REFUSAL.encode()), HTTPStatus.FORBIDDEN)

    def _answer(self, answer: Answer, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "gitaly"


class Server:
    """Accepts on a socket that listens, which becomes its own, until it is closed."""

    def __init__(
        self,
        listening: socket.socket,
        pages: Pages,
        registry: CollectorRegistry | None,
        *,
        hosts: KnownHosts | None = None,
        client_seconds: float = CLIENT_SECONDS,
        most_clients: int = MOST_CLIENTS,
    ) -> None:
        """`registry` None: there are no metrics here, and other paths are not found. `hosts`: under
        which the pages are shown; None: any, as on a socket that no browser reaches."""
        self._listening = listening
        self._most_clients = most_clients
        self._handler = type(
            "Handler",
            (_Handler,),
            {"pages": pages, "registry": registry, "hosts": hosts, "timeout": client_seconds},
        )
        self._client_seconds = client_seconds
        self._clients: dict[socket.socket, float] = {}  # until when each must have asked; inf: has
        self._threads: list[threading.Thread] = []  # those that may still run
        self._lock = threading.Condition()  # notified when a client has left
        # Another process may have the socket, too: it is not shut down, and others may be faster.
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        listening.setblocking(False)
        self._accepting = threading.Thread(target=self._accept, name="http", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Accept nothing more, and drop who is still here after a moment. Again: nothing more
        happens. The socket may be another process's as well: there it goes on."""
        if self._listening.fileno() < 0:
            return
        os.eventfd_write(self._wake, 1)
        self._accepting.join()
        os.close(self._wake)
        self._listening.close()
        with self._lock:
            self._lock.wait_for(lambda: not self._clients, SILENT_SECONDS)
            self._lock.wait_for(lambda: math.inf not in self._clients.values(), END_SECONDS)
            clients = [*self._clients]
        for connected in clients:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def has_asked(self, connected: socket.socket) -> None:
        """The whole request is there; from now on each piece of the answer has its own time."""
        with self._lock:
            self._clients[connected] = math.inf

    def _accept(self) -> None:
        poll = select.poll()
        for descriptor in (self._listening.fileno(), self._wake):
            poll.register(descriptor, select.POLLIN)
        while self._wake not in dict(poll.poll(self._patience_ms())):
            self._drop_the_slow()
            try:
                connected, _ = self._listening.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    time.sleep(0.1)
                continue
            self._begin(connected)

    def _patience_ms(self) -> float | None:
        """Until somebody will have asked for too long; None: nobody is asking."""
        with self._lock:
            until = min(self._clients.values(), default=math.inf)
        return None if until == math.inf else max(1.0, (until - time.monotonic()) * 1000)

    def _drop_the_slow(self) -> None:
        """Who asks letter by letter must not keep the place of others."""
        now = time.monotonic()
        with self._lock:
            slow = [connected for connected, until in self._clients.items() if until <= now]
        for connected in slow:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _begin(self, connected: socket.socket) -> None:
        thread = threading.Thread(target=self._serve, args=(connected,), name="http", daemon=True)
        with self._lock:
            is_welcome = len(self._clients) < self._most_clients
            if is_welcome:
                self._clients[connected] = time.monotonic() + self._client_seconds
        try:
            if is_welcome:
                thread.start()
                self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
                return
            connected.setblocking(False)
            connected.send(BUSY)
        except (OSError, RuntimeError):  # no thread can be started
            self._clients.pop(connected, None)
        connected.close()

    def _serve(self, connected: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):  # the client has gone, or takes too long
                self._handler(connected, ("", 0), self)
        finally:
            with self._lock:
                self._clients.pop(connected, None)
                self._lock.notify_all()
            connected.close()


@contextlib.contextmanager
def status_socket(path: str, pages: Pages) -> Iterator[None]:
    """Serve pages on a unix socket that nobody but the node's user may open, for the block."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(path)
        os.chmod(path, 0o600)
        listening.listen()
    except OSError:
        listening.close()
        raise
    server = Server(listening, pages, None)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
