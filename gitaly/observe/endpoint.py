"""The metrics endpoint: plain HTTP for Prometheus, served by threads of its own."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gitaly.errors import NodeError

BACKLOG: Final = 128


class CannotServeMetrics(NodeError):
    """The address of the endpoint cannot be listened on."""


class BuildInfo(Collector):
    """`gitlab_build_info`: always 1; the labels are the information."""

    def __init__(self, *, version: str, git_version: str) -> None:
        self._labels = {"version": version, "built": "", "git_version": git_version}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "gitlab_build_info",
            "Current build info for this GitLab Service",
            labels=list(self._labels),
        )
        family.add_metric(list(self._labels.values()), 1)
        yield family


def make_registry() -> CollectorRegistry:
    """A registry of its own for each node, with what Prometheus wants to know of any process."""
    # Go's client has no _created series, and they would double the page.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # its author gave it no types
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """The node's log is for other things."""


class _Server(ThreadingMixIn, WSGIServer):
    """Serves on a socket that listens already."""

    daemon_threads = True

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(("", 0), _QuietHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()


def listen_for_metrics(address: str) -> socket.socket:
    """A socket that listens on "host:port". Raises CannotServeMetrics."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise CannotServeMetrics(f'listen on {address}: "{port}" is not a port')
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104  # as asked for
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or everywhere, int(port), type=socket.SOCK_STREAM
        )
        family, place = found[0][0], found[0][4]
        is_dual = family == socket.AF_INET6 and not host
        return socket.create_server(
            (str(place[0]), int(port)), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual
        )
    except OSError as error:
        raise CannotServeMetrics(f"listen on {address}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """create_server() puts the address into its text."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)


@contextlib.contextmanager
def metrics_endpoint(
    address: str, registry: CollectorRegistry, listening: socket.socket | None = None
) -> Iterator[int]:
    """Serve /metrics on "host:port" for the length of the block; gives the port.

    `listening`: a socket that listens there already, the caller's. Raises CannotServeMetrics.
    """
    with contextlib.ExitStack() as stack:
        if listening is None:
            listening = stack.enter_context(listen_for_metrics(address))
        listening.setblocking(False)  # another process may accept on it, too, and be faster
        server = _Server(listening)
        server.set_app(make_wsgi_app(registry))
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
