"""The composition root: builds every object of a node from its configuration."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import CollectorRegistry, Counter

from gitaly.config import Config
from gitaly.git import (
    CatfilePool,
    Git,
    GitObjects,
    GitReferences,
    Handles,
    InProcessObjects,
    InProcessReferences,
    Objects,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
    cpu_seconds_of_groups,
    find_git,
    keep_inherited_descriptors,
)
from gitaly.git.diffs import Diffs, HeadAttributes
from gitaly.limiting import Limiting
from gitaly.observe.endpoint import BuildInfo, make_registry, metrics_endpoint
from gitaly.observe.log import Logger
from gitaly.rpc import (
    Authenticator,
    AuthPolicy,
    Call,
    Method,
    RunningReads,
    method_of,
    node_services,
)
from gitaly.rpc.access_log import AccessLog
from gitaly.rpc.core import Core
from gitaly.rpc.metrics import RpcMetrics
from gitaly.rpc.server import Router, make_handlers
from gitaly.rpc.steps import Steps
from gitaly.runtime_dir import RuntimeDirectory
from gitaly.services.analysis import AnalysisServicer
from gitaly.services.blob import BlobServicer
from gitaly.services.commit import CommitServicer
from gitaly.services.diff import DiffServicer
from gitaly.services.fetches import GitProtocol, NegotiationMetrics
from gitaly.services.health import HealthServicer
from gitaly.services.pushes import Pushes
from gitaly.services.ref import RefServicer
from gitaly.services.reflection import ReflectionServicer
from gitaly.services.remote import RemoteServicer
from gitaly.services.repository import (
    ArchiveServicer,
    AttributesServicer,
    ConsistencyServicer,
    ExportServicer,
    LicenseServicer,
    RawChangesServicer,
    ReachabilityServicer,
    RepositoryInformationServicer,
    RepositoryServicer,
    SearchServicer,
)
from gitaly.services.server import ServerServicer
from gitaly.services.smarthttp import SmartHTTPServicer
from gitaly.services.ssh import SSHServicer
from gitaly.serving import Serving
from gitaly.start_log import announce, is_standalone
from gitaly.storage import Blocking, Creator, Remover, Storages
from gitaly.tasks import background
from gitaly.tls import server_context
from gitaly.transport.connections import Connections
from gitaly.transport.listener import Endpoint, Listener
from gitaly.upkeep import Upkeep
from gitaly.version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that serves."""

    serving: Serving
    registry: CollectorRegistry
    metrics_port: int | None  # where Prometheus finds it

    def port(self, kind: str) -> int:
        """The TCP port of the listener of a kind, "tcp" or "tls"."""
        return next(x.port for x in self.serving.listeners if x.endpoint.kind == kind)


@asynccontextmanager
async def running_node(config: Config, logger: Logger) -> AsyncIterator[Node]:
    """A node for the length of the block. It ends with the block, at once; to drain it, stop
    its `serving` before.

    Raises NodeError with a text for the operator if it cannot start.
    """
    async with AsyncExitStack() as stack:
        node = await _build(config, logger, stack)
        try:
            await node.serving.start()
            yield node
        finally:
            await node.serving.stop(0, asyncio.Event())


async def _build(config: Config, logger: Logger, stack: AsyncExitStack) -> Node:
    keep_inherited_descriptors()
    registry = make_registry()
    git, processes = _git(config, registry, logger)
    runtime = stack.enter_context(RuntimeDirectory(config.runtime_dir, logger))
    upkeep = Upkeep(config.storages, logger)
    registry.register(upkeep.counter)
    upkeep.prepare()
    await stack.enter_async_context(background(upkeep.run()))
    catfiles = CatfilePool(git, maximum=config.git.catfile_cache_size)
    await stack.enter_async_context(catfiles)
    connections, health, running = Connections(), HealthServicer(), set[Call]()
    servicers = [health, *_servicers(config, git, catfiles, upkeep, registry, logger)]
    limiting = Limiting(config, registry, logger)
    reads = _reads(config, upkeep.blocking)
    await stack.enter_async_context(limiting.moving(None, reads.burdens if reads else None))
    handlers = _handlers(config, servicers, connections, running, limiting, reads, registry, logger)
    core = Core(runtime.socket("grpc"), [handlers])
    internal_core = Core(runtime.socket("grpc-intern"), [handlers])
    listen = _listeners(connections, registry, logger)
    internal = Endpoint(kind="unix", address=runtime.internal_socket, is_internal=True)
    metrics_port = None
    if config.prometheus_listen_addr:
        metrics_port = stack.enter_context(
            metrics_endpoint(config.prometheus_listen_addr, registry)
        )
    serving = Serving(
        listeners=[listen(endpoint, core) for endpoint in _endpoints(config, runtime)],
        internal=listen(internal, internal_core),
        core=core,
        internal_core=internal_core,
        connections=connections,
        running=running,
        health=health,
        processes=processes,
        logger=logger,
    )
    return Node(serving=serving, registry=registry, metrics_port=metrics_port)


def _git(config: Config, registry: CollectorRegistry, logger: Logger) -> tuple[Git, Processes]:
    binary = find_git(config.git.bin_path, os.environ)
    registry.register(BuildInfo(version=VERSION, git_version=binary.version.text))
    announce(config, binary, logger)
    metrics = PrometheusCommandMetrics(registry, binary.version.text)
    processes = Processes(PosixSpawner(), metrics)
    git = Git(
        binary,
        processes,
        environment=os.environ,
        cpus=os.cpu_count() or 1,
        admin_config=[(setting.key, setting.value) for setting in config.git.config],
    )
    return git, processes


def _handlers(
    config: Config,
    servicers: Sequence[Any],
    connections: Connections,
    running: set[Call],
    limiting: Limiting,
    reads: RunningReads | None,
    registry: CollectorRegistry,
    logger: Logger,
) -> Router:
    contract = node_services()
    methods = [*(method for service in contract.values() for method in service), *_standard()]
    limiting.warn_of_unknown({method.path for method in methods})
    reflection = ReflectionServicer([*contract, HealthServicer.SERVICE])
    steps = Steps(
        metrics=RpcMetrics(registry, methods, config.prometheus.grpc_latency_buckets),
        access_log=AccessLog(logger),
        auth=Authenticator(_policy(config), registry, time.time),
        running=running,
        logger=logger,
        limits=limiting.methods,
        reads=reads,
    )
    return make_handlers(methods, [*servicers, reflection], steps, connections.by_peer)


def _reads(config: Config, blocking: Blocking) -> RunningReads | None:
    if not config.load_shedder.enabled:
        return None
    return RunningReads(lambda groups: blocking.run(cpu_seconds_of_groups, list(groups)))


def _servicers(
    config: Config,
    git: Git,
    catfiles: CatfilePool,
    upkeep: Upkeep,
    registry: CollectorRegistry,
    logger: Logger,
) -> Iterator[Any]:
    storages, blocking, counter = upkeep.storages, upkeep.blocking, upkeep.counter
    handles = Handles(git.formats)
    references = InProcessReferences(handles, GitReferences(git))
    objects = InProcessObjects(handles, GitObjects(git, catfiles))

    def forget(path: str) -> None:
        handles.forget(path)
        catfiles.forget(path)

    yield RepositoryServicer(
        storages,
        creator=Creator(git, blocking, counter),
        remover=Remover(blocking, counter, logger, forget),
    )
    yield RepositoryInformationServicer(
        storages, references=references, formats=git.formats, blocking=blocking
    )
    yield from _repository_readers(storages, git, objects, blocking, logger)
    yield RemoteServicer(storages, git)
    yield RefServicer(storages, git, objects=objects, references=references)
    yield BlobServicer(storages, git, objects)
    yield CommitServicer(storages, git, objects=objects, references=references, registry=registry)
    yield from _comparers(storages, git, objects, blocking)
    yield AnalysisServicer(storages, objects)
    yield ServerServicer(
        storages,
        binary=git.binary,
        blocking=blocking,
        signing_key_path=config.git.signing_key,
    )
    protocol = GitProtocol(registry, logger)
    pushes = Pushes(git, protocol, is_standalone=is_standalone(config))
    yield SSHServicer(
        storages,
        git,
        pushes=pushes,
        protocol=protocol,
        metrics=NegotiationMetrics(registry, "ssh"),
        upload_pack_seconds=config.timeout.upload_pack_negotiation.total_seconds(),
        upload_archive_seconds=config.timeout.upload_archive_negotiation.total_seconds(),
        logger=logger,
    )
    yield SmartHTTPServicer(
        storages,
        git,
        pushes=pushes,
        protocol=protocol,
        metrics=NegotiationMetrics(registry, "smarthttp"),
        logger=logger,
    )


def _repository_readers(
    storages: Storages, git: Git, objects: Objects, blocking: Blocking, logger: Logger
) -> Iterator[Any]:
    """What RepositoryService tells of a repository's content."""
    yield ArchiveServicer(storages, git, objects)
    yield AttributesServicer(storages, git, objects, blocking)
    yield ConsistencyServicer(storages, git)
    yield ExportServicer(storages, git, blocking, logger)
    yield LicenseServicer(storages, objects=objects, formats=git.formats, blocking=blocking)
    yield ReachabilityServicer(storages, git)
    yield SearchServicer(storages, git)


def _comparers(storages: Storages, git: Git, objects: Objects, blocking: Blocking) -> Iterator[Any]:
    """What tells differences."""
    diffs = Diffs(git, HeadAttributes(git, objects))
    yield DiffServicer(storages, diffs, objects=objects, formats=git.formats, blocking=blocking)
    yield RawChangesServicer(storages, diffs, objects=objects, formats=git.formats)


def _standard() -> Iterator[Method]:
    """Services that every gRPC server has."""
    for file in (health_pb2, reflection_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from map(method_of, service.methods)


def _policy(config: Config) -> AuthPolicy:
    secret = config.auth.secret.encode("utf-8", "surrogateescape")
    return AuthPolicy(secret=secret, transitioning=config.auth.transitioning)


def _endpoints(config: Config, runtime: RuntimeDirectory) -> Iterator[Endpoint]:
    if config.socket_path:
        yield Endpoint(kind="unix", address=config.socket_path)
    if config.listen_addr:
        yield Endpoint(kind="tcp", address=config.listen_addr)
    if config.tls_listen_addr:
        context = server_context(config.tls, runtime)
        yield Endpoint(kind="tls", address=config.tls_listen_addr, tls=context)


def _listeners(
    connections: Connections, registry: CollectorRegistry, logger: Logger
) -> Callable[[Endpoint, Core], Listener]:
    accepted = Counter(
        "gitaly_connections_total",
        "Total number of connections accepted by this Gitaly process",
        ["type"],
        registry=registry,
    )

    def listener(endpoint: Endpoint, core: Core) -> Listener:
        return Listener(
            endpoint,
            core_path=core.path,
            connections=connections,
            on_accept=lambda kind: accepted.labels(kind).inc(),
            logger=logger,
        )

    return listener
