"""A small HTTP server that plays GitLab's internal API, on a port or on a unix socket."""

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

API = "/api/v4/internal"


@dataclass
class Reply:
    status: int = 200
    body: object = field(default_factory=dict)  # bytes are sent as they are
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


GOOD: Mapping[str, Reply] = {
    "/allowed": Reply(body={"status": True, "message": "allowed"}),
    "/pre_receive": Reply(body={"reference_counter_increased": True}),
    "/post_receive": Reply(body={"reference_counter_decreased": True, "messages": []}),
    "/check": Reply(
        body={
            "gitlab_version": "18.9.0",
            "gitlab_revision": "abc",
            "api_version": "v4",
            "redis": True,
        }
    ),
}


@dataclass
class Call:
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def name(self) -> str:
        return self.path.partition(API)[2]

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class GitLabServer:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.replies = dict(GOOD)
        self.calls: list[Call] = []
        self.during: dict[str, Callable[[Call], None]] = {}  # runs before the answer
        self.released = threading.Event()  # what holds an answer back waits for this
        self.address: str | int = ""

    @property
    def url(self) -> str:
        if isinstance(self.address, int):
            return f"http://127.0.0.1:{self.address}"
        return "http+unix://" + self.address.replace("/", "%2F")

    @property
    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    def answer(self, call: Call) -> Reply:
        self.calls.append(call)
        if call.name in self.during:
            self.during[call.name](call)
        return self.replies.get(call.name, Reply(404, {"message": "404 Not Found"}))

    def hold(self, name: str) -> threading.Event:
        """Let nobody have an answer until `released`; the event is set when somebody waits."""
        arrived = threading.Event()

        def wait(_: Call) -> None:
            arrived.set()
            self.released.wait(60)

        self.during[name] = wait
        return arrived

    @contextmanager
    def serving(
        self, where: Path | int = 0, tls: ssl.SSLContext | None = None
    ) -> Iterator["GitLabServer"]:
        """On a path or a port of 127.0.0.1; 0: the system's choice."""
        server = _server(self, where)
        if isinstance(where, Path):
            self.address = str(where)
        else:
            self.address = server.server_address[1]
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection; `server.gitlab` says what to answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        gitlab: GitLabServer = self.server.gitlab  # type: ignore[attr-defined]  # set by _server
        reply = gitlab.answer(Call(self.command, self.path, dict(self.headers), raw))
        body = reply.body
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(reply.status)
        if "Date" not in reply.headers:
            self.send_header("Date", self.date_time_string())
        self.send_header("Content-Length", str(len(data)))
        if reply.content_type:
            self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True  # a client that did not want to wait


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        pass


class _Unix(_Tcp):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)


def _server(gitlab: GitLabServer, where: Path | int) -> _Tcp:
    address: Any = str(where) if isinstance(where, Path) else ("127.0.0.1", where)
    server = (_Unix if isinstance(where, Path) else _Tcp)(address, _Handler)
    server.gitlab = gitlab  # type: ignore[attr-defined]  # for the handlers
    return server
