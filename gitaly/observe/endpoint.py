"""The metrics endpoint: plain HTTP for Prometheus, served by threads of its own."""

import contextlib
import os
import socket
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gitaly.errors import NodeError
from gitaly.observe.hosts import KnownHosts
from gitaly.observe.serving import Pages, Server
from gitaly.ports import is_port, split_address

NO_PAGES: Final[Pages] = MappingProxyType({})

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


def listen_for_metrics(address: str) -> socket.socket:
    """A socket that listens on "host:port"; on every address without a host, on any port without
    one.

    Raises CannotServeMetrics.
    """
    host, port = split_address(address)
    if not is_port(port):
        raise CannotServeMetrics(f'listen on {address}: "{port}" is not a port')
    try:
        return _listening(host, port)
    except OSError as error:
        is_name = isinstance(error, socket.gaierror)
        text = error.strerror if is_name else os.strerror(error.errno or 0)
        raise CannotServeMetrics(f"listen on {address}: {text}") from error


def _listening(host: str, port: str) -> socket.socket:
    [(family, _, _, _, place), *_] = socket.getaddrinfo(
        host or None, port or "0", type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", place[1]), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    return socket.create_server(place, family=family, backlog=BACKLOG)


@contextlib.contextmanager
def metrics_endpoint(
    address: str,
    registry: CollectorRegistry,
    pages: Pages = NO_PAGES,
    listening: socket.socket | None = None,
    hosts: KnownHosts | None = None,
) -> Iterator[int]:
    """Serve /metrics on "host:port" for the length of the block, and pages under the names that
    they may be shown under; gives the port.

    `listening`: a socket that listens there already, the caller's. Raises CannotServeMetrics.
    """
    own = listen_for_metrics(address) if listening is None else listening.dup()
    server = Server(own, pages, registry, hosts=hosts)
    try:
        yield own.getsockname()[1]
    finally:
        server.close()
