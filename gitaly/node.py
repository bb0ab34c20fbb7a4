"""The composition root: builds every object of a node from its configuration."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import CollectorRegistry

from gitaly.archive_setup import archive_cache
from gitaly.cgroups import CgroupSpawner
from gitaly.config import Config
from gitaly.git import (
    CatfileCollector,
    CatfilePool,
    Git,
    GitBinary,
    Processes,
    PrometheusCommandMetrics,
    cpu_seconds_of_groups,
    find_git,
    keep_inherited_descriptors,
)
from gitaly.hook_setup import PushDecisions
from gitaly.hooks import PACK_OBJECTS, HookReception, Outfit, install
from gitaly.inspection import Inspection, Subjects, unchanging
from gitaly.limiting import Limiting
from gitaly.listeners import endpoints, listener_maker, metrics_listener
from gitaly.metrics_listener import MetricsListener
from gitaly.observe.endpoint import BuildInfo, make_registry
from gitaly.observe.hosts import KnownHosts
from gitaly.observe.log import Logger
from gitaly.observe.loop_lag import LoopLag
from gitaly.observe.pages import json_page, status_pages
from gitaly.observe.refusals import Refusals
from gitaly.observe.serving import status_socket
from gitaly.pack_setup import intercepts_packs, make_pack_cache
from gitaly.readiness import make_readiness, tell_health
from gitaly.reload import Reloader
from gitaly.reload_setup import Parts
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
from gitaly.rpc.server import make_routes
from gitaly.rpc.steps import Steps
from gitaly.runtime_dir import STATUS, RuntimeDirectory
from gitaly.served_certificate import ServedCertificate
from gitaly.servicers import Means, make_lfs_filter, make_servicers
from gitaly.services.health import HealthServicer
from gitaly.services.hook_calls import HookCalls
from gitaly.services.hook_sessions import Abandonment, HookSessions
from gitaly.services.pack_objects import RPC as PACK_OBJECTS_RPC
from gitaly.services.pack_objects import PackInterception, PackObjects
from gitaly.services.pack_objects import request_of as pack_request
from gitaly.services.reflection import ReflectionServicer
from gitaly.services.voters import Voters
from gitaly.serving import Serving
from gitaly.spawning import Birthplace, birthplace
from gitaly.start_log import announce
from gitaly.storage import Blocking, Pulse
from gitaly.streamcache import StreamMetrics
from gitaly.supervision.birth import Birth
from gitaly.tasks import background
from gitaly.transactions import TransactionManager, Voter
from gitaly.transport.backchannel import Backchannels
from gitaly.transport.connections import Connections
from gitaly.transport.listener import Endpoint
from gitaly.upkeep import Upkeep
from gitaly.version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that serves."""

    serving: Serving
    inspection: Inspection
    registry: CollectorRegistry
    authenticator: Authenticator
    reloader: Reloader

    @property
    def metrics_port(self) -> int | None:
        """Where Prometheus finds it."""
        return self.serving.metrics.port if self.serving.metrics else None

    def port(self, kind: str) -> int:
        """The TCP port of the listener of a kind, "tcp" or "tls"."""
        return next(x.port for x in self.serving.listeners if x.endpoint.kind == kind)


@asynccontextmanager
async def running_node(
    config: Config, logger: Logger, birth: Birth | None = None
) -> AsyncIterator[Node]:
    """A node for the length of the block. It ends with the block, at once; to drain it, stop
    its `serving` before.

    `birth`: what the process was given, if it is the node's alone. Raises NodeError with a text
    for the operator if it cannot start.
    """
    birth = birth or Birth()
    async with AsyncExitStack() as stack:
        node = await _build(config, logger, stack, birth)
        try:
            birth.sockets.settle()
            await node.serving.start(birth.my_turn)
            yield node
        finally:
            await node.serving.stop(0, asyncio.Event())


async def _build(config: Config, logger: Logger, stack: AsyncExitStack, birth: Birth) -> Node:
    keep_inherited_descriptors()
    registry = make_registry()
    binary = find_git(config.git.bin_path, os.environ)
    registry.register(BuildInfo(version=VERSION, git_version=binary.version.text))
    announce(config, binary, logger)
    place = await stack.enter_async_context(birthplace(config, registry, logger, birth.open_files))
    git, processes = _git(config, binary, place, registry)
    runtime = stack.enter_context(RuntimeDirectory(config.runtime_dir, logger))
    internal_token = secrets.token_hex(32)  # of this process, for its hooks: it never rotates
    outfit = _outfit(runtime, internal_token)
    upkeep = Upkeep(config.storages, logger, birth.alone)
    registry.register(upkeep.counter)
    registry.register(upkeep.patrol)
    stack.callback(upkeep.pulse.close)
    await upkeep.prepare()
    for work in (upkeep.run(), upkeep.patrol.run(), LoopLag(registry).run()):
        await stack.enter_async_context(background(work))
    catfiles = CatfilePool(git, maximum=config.git.catfile_cache_size)
    await stack.enter_async_context(catfiles)
    registry.register(CatfileCollector(catfiles.counts, lambda: catfiles.idle))
    connections, health, running = Connections(), HealthServicer(), set[Call]()
    tell_health(upkeep.patrol, health)
    refusals = Refusals()
    limiting, streams = Limiting(config, registry, logger), StreamMetrics(registry)
    cache = await stack.enter_async_context(
        make_pack_cache(
            config, git, limiting.pack_objects, upkeep.blocking, runtime.path, streams, logger
        )
    )
    archives = await stack.enter_async_context(
        archive_cache(config, git, upkeep.blocking, streams, logger)
    )
    packs = PackObjects(upkeep.storages, git.formats, cache, logger)
    interception = PackInterception(
        outfit, git.formats, packs.fetches, is_on=intercepts_packs(config)
    )
    reads = _reads(config, upkeep.blocking, registry)
    usage = place.parent_usage if place.groups else None
    await stack.enter_async_context(limiting.moving(usage, reads.burdens))
    backchannels = await stack.enter_async_context(Backchannels(connections))
    transactions = _transactions(config, backchannels, registry, logger)
    voter_of = partial(Voter, transactions)
    decisions = PushDecisions(
        config, git, processes, upkeep.blocking, registry, logger, voter_of=voter_of
    )
    manager, abandonment, lfs = decisions.manager, Abandonment(), make_lfs_filter(config)
    means = Means(
        config=config,
        git=git,
        catfiles=catfiles,
        upkeep=upkeep,
        readiness=make_readiness(upkeep, health, binary, place, runtime),
        manager=manager,
        outfit=outfit,
        abandonment=abandonment,
        voters=Voters(transactions),
        packs=packs,
        interception=interception,
        lfs=lfs,
        archives=archives,
        registry=registry,
        logger=logger,
    )
    contract = node_services()
    methods = [*(method for service in contract.values() for method in service), *_standard()]
    limiting.warn_of_unknown({method.path for method in methods})
    authenticator = Authenticator(
        _policy(config), registry, time.time, logger, internal_token.encode()
    )
    await stack.enter_async_context(background(authenticator.refusals.run()))
    steps = _steps(
        *(config, methods, running, limiting, reads, authenticator, refusals, registry, logger),
        upkeep.pulse,
    )
    reflection = ReflectionServicer([*contract, HealthServicer.SERVICE])
    servicers = [*make_servicers(means), health, reflection]
    routes = make_routes(methods, servicers, steps)
    calls = HookCalls(steps, methods)
    sessions = HookSessions(upkeep.storages, manager, calls, abandonment)
    reception = _reception(runtime, internal_token, calls, sessions, packs, logger)
    await stack.enter_async_context(reception)
    core, internal_core = Core(routes), Core(routes)
    certificate = ServedCertificate(config, registry, logger)
    listen = listener_maker(connections, registry, logger)
    listeners = [
        listen(endpoint, core) for endpoint in endpoints(config, certificate, birth.sockets)
    ]
    certificate.is_served_by([x for x in listeners if x.endpoint.kind == "tls"])
    internal = Endpoint(kind="unix", address=runtime.internal_socket, is_internal=True)
    metrics = metrics_listener(config, registry, birth.sockets)
    if metrics is not None:
        stack.push_async_callback(metrics.aclose)
    serving = Serving(
        listeners=listeners,
        internal=listen(internal, internal_core),
        core=core,
        internal_core=internal_core,
        connections=connections,
        running=running,
        health=health,
        processes=processes,
        logger=logger,
        metrics=metrics,
    )
    parts = Parts(
        logger=logger,
        authenticator=authenticator,
        policy_of=_policy,
        certificate=certificate,
        decisions=decisions,
        lfs=lfs,
        limiting=limiting,
        reads=reads,
        interception=interception,
        cache=cache,
        archives=archives,
        git=git,
        catfiles=catfiles,
    )
    reloader = Reloader(config, [*parts.takers()], registry, logger)
    inspection = Inspection(
        Subjects(
            node=unchanging(config, binary),
            state=lambda: "draining" if serving.is_stopped else "serving",
            patrol=upkeep.patrol,
            running=running,
            connections=lambda: len(connections),
            limiting=limiting,
            groups=place.groups,
            spawner=place.spawner if isinstance(place.spawner, CgroupSpawner) else None,
            cache=cache,
            archives=archives,
            processes=processes,
            refusals=refusals,
            authenticator=authenticator,
            certificate=certificate,
            reloader=reloader,
        )
    )
    _show(inspection, config, runtime, metrics, stack)
    return Node(
        serving=serving,
        inspection=inspection,
        registry=registry,
        authenticator=authenticator,
        reloader=reloader,
    )


def _git(
    config: Config, binary: GitBinary, place: Birthplace, registry: CollectorRegistry
) -> tuple[Git, Processes]:
    metrics = PrometheusCommandMetrics(registry, binary.version.text)
    processes = Processes(place.spawner, metrics)
    git = Git(
        binary,
        processes,
        environment=os.environ,
        cpus=os.cpu_count() or 1,
        admin_config=[(setting.key, setting.value) for setting in config.git.config],
        pack_config=place.pack_config,
    )
    return git, processes


def _outfit(runtime: RuntimeDirectory, internal_token: str) -> Outfit:
    return Outfit(
        installation=install(runtime.path, runtime.socket("hooks")),
        runtime_dir=runtime.path,
        internal_socket=runtime.internal_socket,
        token=internal_token,
    )


def _reception(
    runtime: RuntimeDirectory,
    internal_token: str,
    calls: HookCalls,
    sessions: HookSessions,
    packs: PackObjects,
    logger: Logger,
) -> HookReception:
    """Where the hooks of our git children ask."""
    packing = calls.handler(PACK_OBJECTS_RPC, pack_request, packs.by_program)
    return HookReception(
        runtime.socket("hooks"),
        token=internal_token,
        handlers={**sessions.handlers, PACK_OBJECTS: packing},
        logger=logger,
    )


def _show(
    inspection: Inspection,
    config: Config,
    runtime: RuntimeDirectory,
    metrics: MetricsListener | None,
    stack: AsyncExitStack,
) -> None:
    """What the inspection sees, to the commands of this machine and to browsers."""
    stack.enter_context(status_socket(runtime.socket(STATUS), json_page(inspection.snapshot)))
    if metrics is not None and config.prometheus.status_page:
        metrics.pages = status_pages(inspection.snapshot)
        metrics.hosts = KnownHosts([os.uname().nodename, *config.prometheus.status_page_hosts])


def _steps(
    config: Config,
    methods: Sequence[Method],
    running: set[Call],
    limiting: Limiting,
    reads: RunningReads,
    authenticator: Authenticator,
    refusals: Refusals,
    registry: CollectorRegistry,
    logger: Logger,
    pulse: Pulse,
) -> Steps:
    return Steps(
        metrics=RpcMetrics(registry, methods, config.prometheus.grpc_latency_buckets),
        access_log=AccessLog(logger),
        auth=authenticator,
        running=running,
        logger=logger,
        limits=limiting.methods,
        reads=reads,
        refusals=refusals,
        pulse=pulse,
    )


def _reads(config: Config, blocking: Blocking, registry: CollectorRegistry) -> RunningReads:
    reads = RunningReads(
        lambda groups: blocking.run(cpu_seconds_of_groups, list(groups)),
        is_on=config.load_shedder.enabled,
    )
    reads.show(registry)
    return reads


def _transactions(
    config: Config, backchannels: Backchannels, registry: CollectorRegistry, logger: Logger
) -> TransactionManager:
    buckets = config.prometheus.grpc_latency_buckets
    return TransactionManager(backchannels, registry, buckets, logger)


def _standard() -> Iterator[Method]:
    """Services that every gRPC server has."""
    for file in (health_pb2, reflection_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from map(method_of, service.methods)


def _policy(config: Config) -> AuthPolicy:
    """Who is let in by a configuration."""
    given = tuple(secret.encode("utf-8", "surrogateescape") for secret in config.auth.secrets)
    return AuthPolicy(secrets=given, transitioning=config.auth.transitioning)
