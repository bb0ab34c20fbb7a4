"""Where a node listens: sockets that it was given, and those that it opens."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from gitaly.config import Config
from gitaly.metrics_listener import MetricsListener
from gitaly.observe.log import Logger
from gitaly.rpc.core import Core
from gitaly.runtime_dir import RuntimeDirectory
from gitaly.served_certificate import ServedCertificate
from gitaly.supervision.inherited import Inheritance
from gitaly.transport.connections import Connections
from gitaly.transport.listener import Endpoint, Listener


def endpoints(
    config: Config, certificate: ServedCertificate, sockets: Inheritance
) -> Iterator[Endpoint]:
    """Those of the configuration, for clients. Raises BadInheritance."""

    def endpoint(kind: str, address: str, tls: ssl.SSLContext | None = None) -> Endpoint:
        found = sockets.take(kind, address)
        if found is None:
            return Endpoint(kind=kind, address=address, tls=tls)
        return Endpoint(
            kind=kind, address=address, tls=tls, inherited=found.socket, is_kept=found.is_kept
        )

    if config.socket_path:
        yield endpoint("unix", config.socket_path)
    if config.listen_addr:
        yield endpoint("tcp", config.listen_addr)
    if certificate.identity is not None:
        yield endpoint("tls", config.tls_listen_addr, certificate.identity.context)


def listener_maker(
    connections: Connections, registry: CollectorRegistry, logger: Logger
) -> Callable[[Endpoint, Core], Listener]:
    """Makes listeners whose connections are counted together."""
    accepted = Counter(
        "gitaly_connections_total",
        "Total number of connections accepted by this Gitaly process",
        ["type"],
        registry=registry,
    )
    registry.register(connections.mux_sizes)

    def listener(endpoint: Endpoint, core: Core) -> Listener:
        return Listener(
            endpoint,
            server=core,
            connections=connections,
            on_accept=lambda kind: accepted.labels(kind).inc(),
            logger=logger,
        )

    return listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Where a node can be reached."""

    clients: Sequence[Listener]
    internal: Listener  # for its own hooks
    metrics: MetricsListener | None
    certificate: ServedCertificate


def make_listeners(
    config: Config,
    runtime: RuntimeDirectory,
    sockets: Inheritance,
    connections: Connections,
    *,
    core: Core,
    internal_core: Core,
    registry: CollectorRegistry,
    logger: Logger,
) -> Listeners:
    """None of them is open yet. Raises BadInheritance, UnusableCertificate."""
    certificate = ServedCertificate(config, registry, logger)
    listen = listener_maker(connections, registry, logger)
    clients = [listen(endpoint, core) for endpoint in endpoints(config, certificate, sockets)]
    certificate.is_served_by([x for x in clients if x.endpoint.kind == "tls"])
    internal = Endpoint(kind="unix", address=runtime.internal_socket, is_internal=True)
    return Listeners(
        clients=clients,
        internal=listen(internal, internal_core),
        metrics=metrics_listener(config, registry, sockets),
        certificate=certificate,
    )


def metrics_listener(
    config: Config, registry: CollectorRegistry, sockets: Inheritance
) -> MetricsListener | None:
    """That of `prometheus_listen_addr`; None: there is none. Raises BadInheritance."""
    address = config.prometheus_listen_addr
    if not address:
        return None
    inherited = sockets.take("metrics", address)
    return MetricsListener(address, registry, inherited.socket if inherited else None)
