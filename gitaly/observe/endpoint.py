"""The metrics endpoint: plain HTTP for Prometheus, served by threads of its own."""

import contextlib
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
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
    try:
        server, thread = start_http_server(
            int(port), addr=host.strip("[]") or "::", registry=registry
        )
    except (OSError, ValueError) as error:
        raise CannotServeMetrics(f"listen on {address}: {error}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
