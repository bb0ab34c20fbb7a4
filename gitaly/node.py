"""The composition root: builds every object of a node from its configuration."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import CollectorRegistry

from gitaly.cache_setup import Caches, intercepts_packs, running_caches
from gitaly.cgroups import CgroupSpawner
from gitaly.config import Config
from gitaly.git import (
    cpu_seconds_of_groups,
    keep_inherited_descriptors,
)
from gitaly.git_setup import GitSetup, running_git
from gitaly.hook_setup import PushDecisions
from gitaly.hooks import PACK_OBJECTS, HookReception, Outfit, install
from gitaly.inspection import Inspection, Subjects, unchanging
from gitaly.limiting import Limiting
from gitaly.listeners import make_listeners
from gitaly.observe.endpoint import make_registry
from gitaly.observe.hosts import KnownHosts
from gitaly.observe.log import Logger
from gitaly.observe.loop_lag import LoopLag
from gitaly.observe.pages import json_page, status_pages
from gitaly.observe.refusals import Refusals
from gitaly.observe.serving import status_socket
from gitaly.readiness import make_readiness, tell_health
from gitaly.reload import Reloader
from gitaly.reload_setup import Parts, access_policy
from gitaly.rpc import (
    Authenticator,
    Call,
    Method,
    RunningReads,
    method_of,
    node_services,
)
from gitaly.rpc.access_log import AccessLog
from gitaly.rpc.core import Core, Route
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
from gitaly.storage import Blocking
from gitaly.supervision.birth import Birth
from gitaly.tasks import background
from gitaly.transactions import TransactionManager, Voter
from gitaly.transport.backchannel import Backchannels
from gitaly.transport.connections import Connections
from gitaly.upkeep import Upkeep


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
    ground = await _lay_ground(config, logger, stack, birth)
    answers = await _make_answers(ground, stack)
    core, internal_core = Core(answers.routes), Core(answers.routes)
    listeners = make_listeners(
        *(config, ground.runtime, birth.sockets, ground.connections),
        core=core,
        internal_core=internal_core,
        registry=ground.registry,
        logger=logger,
    )
    if listeners.metrics is not None:
        stack.push_async_callback(listeners.metrics.aclose)
    serving = Serving(
        listeners=listeners.clients,
        internal=listeners.internal,
        core=core,
        internal_core=internal_core,
        connections=ground.connections,
        running=ground.running,
        health=ground.health,
        processes=ground.git.processes,
        logger=logger,
        metrics=listeners.metrics,
    )
    reloader = _reloader(ground, answers, listeners.certificate)
    inspection = _inspection(ground, answers, listeners.certificate, serving, reloader)
    page = json_page(inspection.snapshot)
    stack.enter_context(status_socket(ground.runtime.socket(STATUS), page))
    if listeners.metrics is not None and config.prometheus.status_page:
        names = [os.uname().nodename, *config.prometheus.status_page_hosts]
        listeners.metrics.pages = status_pages(inspection.snapshot)
        listeners.metrics.hosts = KnownHosts(names)
    return Node(
        serving=serving,
        inspection=inspection,
        registry=ground.registry,
        authenticator=answers.authenticator,
        reloader=reloader,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What all calls stand on."""

    config: Config
    logger: Logger
    registry: CollectorRegistry
    git: GitSetup
    runtime: RuntimeDirectory
    upkeep: Upkeep
    limiting: Limiting
    reads: RunningReads
    caches: Caches
    connections: Connections
    health: HealthServicer
    running: set[Call]


async def _lay_ground(
    config: Config, logger: Logger, stack: AsyncExitStack, birth: Birth
) -> _Ground:
    keep_inherited_descriptors()
    registry = make_registry()
    git = await stack.enter_async_context(running_git(config, registry, logger, birth.open_files))
    runtime = stack.enter_context(RuntimeDirectory(config.runtime_dir, logger))
    upkeep = Upkeep(config.storages, logger, birth.alone)
    upkeep.show(registry)
    await stack.enter_async_context(upkeep.working())
    await stack.enter_async_context(background(LoopLag(registry).run()))
    limiting, reads = Limiting(config, registry, logger), _reads(config, upkeep.blocking, registry)
    usage = git.place.parent_usage if git.place.groups else None
    await stack.enter_async_context(limiting.moving(usage, reads.burdens))
    caches = running_caches(
        *(config, git.git, limiting.pack_objects, upkeep.blocking),
        *(runtime.path, registry, logger),
    )
    health = HealthServicer()
    tell_health(upkeep.patrol, health)
    return _Ground(
        config=config,
        logger=logger,
        registry=registry,
        git=git,
        runtime=runtime,
        upkeep=upkeep,
        limiting=limiting,
        reads=reads,
        caches=await stack.enter_async_context(caches),
        connections=Connections(),
        health=health,
        running=set(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """Who answers calls, and what they pass through."""

    routes: Mapping[str, Route]
    means: Means
    decisions: PushDecisions
    authenticator: Authenticator
    refusals: Refusals


async def _make_answers(ground: _Ground, stack: AsyncExitStack) -> _Answers:
    config, registry, logger = ground.config, ground.registry, ground.logger
    token = secrets.token_hex(32)  # of this process, for its hooks: it never rotates
    means, decisions = await _means(ground, token, stack)
    authenticator = Authenticator(
        access_policy(config), registry, time.time, logger, token.encode()
    )
    await stack.enter_async_context(background(authenticator.refusals.run()))
    contract = node_services()
    methods = [*(method for service in contract.values() for method in service), *_standard()]
    ground.limiting.warn_of_unknown({method.path for method in methods})
    refusals = Refusals()
    steps = Steps(
        metrics=RpcMetrics(registry, methods, config.prometheus.grpc_latency_buckets),
        access_log=AccessLog(logger),
        auth=authenticator,
        running=ground.running,
        logger=logger,
        limits=ground.limiting.methods,
        reads=ground.reads,
        refusals=refusals,
        pulse=ground.upkeep.pulse,
    )
    reflection = ReflectionServicer([*contract, HealthServicer.SERVICE])
    servicers = [*make_servicers(means), ground.health, reflection]
    calls = HookCalls(steps, methods)
    await stack.enter_async_context(_reception(ground.runtime, token, calls, means))
    return _Answers(
        routes=make_routes(methods, servicers, steps),
        means=means,
        decisions=decisions,
        authenticator=authenticator,
        refusals=refusals,
    )


async def _means(ground: _Ground, token: str, stack: AsyncExitStack) -> tuple[Means, PushDecisions]:
    config, registry, logger = ground.config, ground.registry, ground.logger
    git, upkeep, runtime = ground.git, ground.upkeep, ground.runtime
    backchannels = await stack.enter_async_context(Backchannels(ground.connections))
    buckets = config.prometheus.grpc_latency_buckets
    transactions = TransactionManager(backchannels, registry, buckets, logger)
    decisions = PushDecisions(
        *(config, git.git, git.processes, upkeep.blocking, registry, logger),
        voter_of=partial(Voter, transactions),
    )
    outfit = Outfit(
        installation=install(runtime.path, runtime.socket("hooks")),
        runtime_dir=runtime.path,
        internal_socket=runtime.internal_socket,
        token=token,
    )
    packs = PackObjects(upkeep.storages, git.git.formats, ground.caches.packs, logger)
    means = Means(
        config=config,
        git=git.git,
        catfiles=git.catfiles,
        upkeep=upkeep,
        readiness=make_readiness(upkeep, ground.health, git.binary, git.place, runtime),
        manager=decisions.manager,
        outfit=outfit,
        abandonment=Abandonment(),
        voters=Voters(transactions),
        packs=packs,
        interception=PackInterception(
            outfit, git.git.formats, packs.fetches, is_on=intercepts_packs(config)
        ),
        lfs=make_lfs_filter(config),
        archives=ground.caches.archives,
        registry=registry,
        logger=logger,
    )
    return means, decisions


def _reception(
    runtime: RuntimeDirectory, token: str, calls: HookCalls, means: Means
) -> HookReception:
    """Where the hooks of our git children ask."""
    sessions = HookSessions(means.upkeep.storages, means.manager, calls, means.abandonment)
    packing = calls.handler(PACK_OBJECTS_RPC, pack_request, means.packs.by_program)
    return HookReception(
        runtime.socket("hooks"),
        token=token,
        handlers={**sessions.handlers, PACK_OBJECTS: packing},
        logger=means.logger,
    )


def _reloader(ground: _Ground, answers: _Answers, certificate: ServedCertificate) -> Reloader:
    parts = Parts(
        logger=ground.logger,
        authenticator=answers.authenticator,
        certificate=certificate,
        decisions=answers.decisions,
        lfs=answers.means.lfs,
        limiting=ground.limiting,
        reads=ground.reads,
        interception=answers.means.interception,
        caches=ground.caches,
        git=ground.git.git,
        catfiles=ground.git.catfiles,
    )
    return Reloader(ground.config, [*parts.takers()], ground.registry, ground.logger)


def _inspection(
    ground: _Ground,
    answers: _Answers,
    certificate: ServedCertificate,
    serving: Serving,
    reloader: Reloader,
) -> Inspection:
    place = ground.git.place
    return Inspection(
        Subjects(
            node=unchanging(ground.config, ground.git.binary),
            state=lambda: "draining" if serving.is_stopped else "serving",
            patrol=ground.upkeep.patrol,
            running=ground.running,
            connections=lambda: len(ground.connections),
            limiting=ground.limiting,
            groups=place.groups,
            spawner=place.spawner if isinstance(place.spawner, CgroupSpawner) else None,
            caches=ground.caches,
            processes=ground.git.processes,
            refusals=answers.refusals,
            authenticator=answers.authenticator,
            certificate=certificate,
            reloader=reloader,
        )
    )


def _reads(config: Config, blocking: Blocking, registry: CollectorRegistry) -> RunningReads:
    reads = RunningReads(
        lambda groups: blocking.run(cpu_seconds_of_groups, list(groups)),
        is_on=config.load_shedder.enabled,
    )
    reads.show(registry)
    return reads


def _standard() -> Iterator[Method]:
    """Services that every gRPC server has."""
    for file in (health_pb2, reflection_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from map(method_of, service.methods)
