"""The metrics endpoint: plain HTTP for Prometheus, served by threads of its own."""

import contextlib
import socket
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gitaly.errors import NodeError


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


@contextlib.contextmanager
def metrics_endpoint(address: str, registry: CollectorRegistry) -> Iterator[int]:
    """Serve /metrics on "host:port" for the length of the block; gives the port.

    Raises CannotServeMetrics.
    """
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise CannotServeMetrics(f'listen on {address}: "{port}" is not a port')
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104  # as asked for
    try:
        server, thread = start_http_server(
            int(port), addr=host.strip("[]") or everywhere, registry=registry
        )
    except OSError as error:
        raise CannotServeMetrics(f"listen on {address}: {error.strerror}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
