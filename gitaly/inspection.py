"""Looks at a node from outside of its event loop: one snapshot of all that is going on.

Nothing here runs unless somebody looks, and everything runs on the thread of whoever does: what
the loop changes meanwhile is copied in one step (`dict.copy`, `set.copy`), numbers are read as they
are.
"""

import asyncio
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from gitaly.cache_setup import Caches
from gitaly.cgroups import CgroupSpawner, Group, Groups, Statistics
from gitaly.config import Config
from gitaly.git import Account, GitBinary, GroupUsage, Processes, usage_of_groups
from gitaly.limiting import Limiting
from gitaly.observe.health import judged
from gitaly.observe.refusals import Refusals
from gitaly.observe.snapshot import (
    MOST_CALLS,
    MOST_GROUPS,
    AccessState,
    CacheState,
    CallState,
    CertificateState,
    GroupsState,
    GroupState,
    MethodState,
    NodeState,
    ReloadState,
    Snapshot,
    StorageState,
    TokenState,
    bounded,
)
from gitaly.observe.stacks import thread_stack
from gitaly.reload import Reloader
from gitaly.rpc import Authenticator, Call
from gitaly.rpc.access_log import client_of
from gitaly.rpc.call import peer_of, repository_of
from gitaly.served_certificate import ServedCertificate
from gitaly.start_log import push_mode
from gitaly.storage import Patrol
from gitaly.version import VERSION

LOOP_PATIENCE_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 0.25  # several who look at once see the same
QUOTA_PERIOD_US: Final = 100_000
CPU_UNITS: Final = {1: 1e9, 2: 1e6}  # in a second, by version of control groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """What is looked at."""

    node: NodeState  # what never changes
    state: Callable[[], str]  # "serving", "draining"
    patrol: Patrol
    running: set[Call]
    connections: Callable[[], int]
    limiting: Limiting
    groups: Groups | None
    spawner: CgroupSpawner | None
    caches: Caches
    processes: Processes
    refusals: Refusals
    authenticator: Authenticator
    certificate: ServedCertificate
    reloader: Reloader


def unchanging(config: Config, binary: GitBinary) -> NodeState:
    """What is true of a node from its start to its end."""
    return NodeState(
        version=VERSION,
        git_version=binary.version.text,
        git_path=binary.path,
        config_file=config.origin.path,
        mode=push_mode(config),
        listeners=tuple(
            f"{kind}://{address}"
            for kind, address in (
                ("unix", config.socket_path),
                ("tcp", config.listen_addr),
                ("tls", config.tls_listen_addr),
            )
            if address
        ),
        started=time.time(),
    )


class Inspection:
    """Takes snapshots, for any thread. To be made on the node's event loop."""

    def __init__(self, subjects: Subjects) -> None:
        self.subjects = subjects
        self.loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._last = Snapshot()
        self._last_taken = -FRESH_SECONDS

    def snapshot(self) -> Snapshot:
        """The node now, or a quarter of a second ago. Blocks, for some ms; for a second if
        the event loop stands still."""
        with self._lock:
            if time.monotonic() - self._last_taken >= FRESH_SECONDS:
                self._last = self._take()
                self._last_taken = time.monotonic()
            return self._last

    def _take(self) -> Snapshot:
        began = time.monotonic()
        subjects = self.subjects
        heartbeat = _Heartbeat(self.loop)
        running = subjects.running.copy()
        calls = _calls(running, subjects.processes)
        cgroups = _groups(subjects.groups, subjects.spawner)
        archives = subjects.caches.archives
        queues, cache = subjects.limiting.state(), subjects.caches.packs.state()
        snapshot = Snapshot(
            taken=time.time(),
            node=self._node(heartbeat),
            storages=tuple(_storages(subjects.patrol)),
            calls=calls,
            calls_total=len(running),
            calls_queued=sum(1 for call in running if call.account.waits_since),
            methods=_methods(running),
            queues=queues,
            cgroups=cgroups,
            cache=cache,
            archives=archives.state() if archives else CacheState(),
            refusals=tuple(subjects.refusals.latest()),
            access=_access(subjects.authenticator),
            certificate=_certificate(subjects.certificate),
            reload=_reload(subjects.reloader),
        )
        return judged(replace(snapshot, took_seconds=time.monotonic() - began))

    def _node(self, heartbeat: "_Heartbeat") -> NodeState:
        lag = heartbeat.lag_seconds(LOOP_PATIENCE_SECONDS)
        return replace(
            self.subjects.node,
            pid=os.getpid(),
            state=self.subjects.state(),
            uptime_seconds=time.monotonic() - self._started,
            memory_bytes=_resident_bytes(),
            cpu_seconds=time.process_time(),
            threads=threading.active_count(),
            descriptors=len(os.listdir("/proc/self/fd")),
            descriptors_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            connections=self.subjects.connections(),
            loop_lag_seconds=lag,
            loop_patience_seconds=LOOP_PATIENCE_SECONDS,
            stuck_at=thread_stack(self._loop_thread) if lag is None else (),
        )


class _Heartbeat:
    """Asks the event loop for a sign of life."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked = time.monotonic()
        self._heard = self._asked
        self._sign = threading.Event()
        with suppress(RuntimeError):  # it is closed: the node has ended
            loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._heard = time.monotonic()
        self._sign.set()

    def lag_seconds(self, patience_seconds: float) -> float | None:
        """How long it took; None: longer than we wait."""
        left = self._asked + patience_seconds - time.monotonic()
        return self._heard - self._asked if self._sign.wait(max(0.0, left)) else None


def _storages(patrol: Patrol) -> Iterator[StorageState]:
    for storage in patrol.health:
        found = patrol.sight(storage)
        problem = found.problem
        yield StorageState(
            name=storage.name,
            path=bounded(storage.path),
            state=problem.value if problem else "ok",
            problem=bounded(problem.sentence(found.error)) if problem else "",
            file_system=found.file_system,
            free_bytes=found.space.available_bytes,
            total_bytes=found.space.size_bytes,
            free_inodes=found.space.available_inodes,
            total_inodes=found.space.inodes,
        )


def _access(authenticator: Authenticator) -> AccessState:
    return AccessState(
        mode=authenticator.mode,
        tokens=tuple(
            TokenState(fingerprint=use.fingerprint, uses=use.uses, last_used=use.last_used)
            for use in authenticator.uses
        ),
    )


def _certificate(served: ServedCertificate) -> CertificateState:
    identity, now = served.identity, time.time()
    if identity is None:
        return CertificateState()
    first, problem = identity.first_to_expire, identity.trouble(now)
    late = "now" if identity.expires_now(now) else "soon" if identity.expires_soon(now) else "ok"
    return CertificateState(
        address=served.address,
        name=bounded(identity.name),
        expires=first.not_after if first else 0.0,
        state="refused" if problem else late,
        problem=bounded(problem or ""),
    )


def _reload(reloader: Reloader) -> ReloadState:
    last = reloader.last
    if last is None:
        return ReloadState()
    return ReloadState(
        at=last.at,
        is_accepted=last.is_accepted,
        text=bounded(last.text, 2000),
        waiting=tuple(last.waiting),
    )


def _calls(running: set[Call], processes: Processes) -> tuple[CallState, ...]:
    oldest = sorted(running, key=lambda call: call.started)[:MOST_CALLS]
    groups = {call: call.account.groups.copy() for call in oldest}
    usage = usage_of_groups(pid for pids in groups.values() for pid in pids)
    names = {child.pid: child.name for child in processes.running()}
    now = time.monotonic()
    return tuple(_call(call, groups[call], usage, names, now) for call in oldest)


def _call(
    call: Call, groups: set[int], usage: dict[int, GroupUsage], names: dict[int, str], now: float
) -> CallState:
    account, beside = call.account, call.beside
    seconds = now - call.started
    queued = _queued(account, now)
    used = [usage[pid] for pid in groups if pid in usage]
    return CallState(
        correlation_id=account.correlation_id,
        rpc=call.method.short,
        repository=bounded(repository_of(call)),
        project=bounded(_project_of(call)),
        client=bounded(client_of(call)["client_name"]),
        peer=peer_of(call),
        user=bounded(call.single("username") or call.single("user_id")),
        remote_ip=bounded(call.single("remote_ip")),
        phase="queued" if account.waits_since else "running",
        waits_for=account.waits_for,
        seconds=seconds,
        queue_seconds=queued,
        run_seconds=max(0.0, seconds - queued),
        deadline_seconds=None if call.deadline is None else call.deadline - now,
        cpu_seconds=account.user_seconds
        + account.system_seconds
        + sum(usage.cpu_seconds for usage in used),
        memory_bytes=sum(usage.memory_bytes for usage in used),
        commands=tuple(sorted(names[pid] for pid in groups if pid in names)),
        received_bytes=call.received_bytes + (beside.received_bytes if beside else 0),
        sent_bytes=call.sent_bytes + (beside.sent_bytes if beside else 0),
    )


def _queued(account: Account, now: float) -> float:
    since = account.waits_since
    return account.waited_seconds + (max(0.0, now - since) if since else 0.0)


def _project_of(call: Call) -> str:
    request = call.first_request
    found = call.method.target_repository(request) if request is not None else None
    return found.gl_project_path if found is not None else ""


def _methods(running: set[Call]) -> tuple[MethodState, ...]:
    counts: dict[str, list[int]] = {}
    for call in running:
        count = counts.setdefault(call.method.short, [0, 0])
        count[bool(call.account.waits_since)] += 1
    return tuple(
        MethodState(rpc=rpc, running=running, queued=queued)
        for rpc, (running, queued) in sorted(counts.items())
    )


def _groups(groups: Groups | None, spawner: CgroupSpawner | None) -> GroupsState:
    if groups is None:
        return GroupsState()
    version, read = groups.hierarchy.version, groups.hierarchy.statistics
    made = groups.groups()
    return GroupsState(
        version=version,
        parent=_group(groups.parent_path, read(groups.parent_path), version),
        groups=tuple(
            _group(group.path, read(group.path), version, group, groups.seen(group.name))
            for group in sorted(made, key=lambda group: group.name)[:MOST_GROUPS]
        ),
        groups_total=len(made),
        spawners=len(spawner.pids) if spawner is not None else 0,
        spawns_waiting=spawner.waiting if spawner is not None else 0,
    )


def _group(
    path: str,
    found: Statistics,
    version: int,
    group: Group | None = None,
    repositories: Sequence[str] = (),
) -> GroupState:
    quota = group.resources.cpu_quota_us if group is not None else 0
    cpu = None
    if found.cpu_user is not None and found.cpu_kernel is not None:
        cpu = (found.cpu_user + found.cpu_kernel) / CPU_UNITS[version]
    return GroupState(
        path=path,
        memory_bytes=found.memory_bytes,
        anonymous_bytes=found.anonymous_bytes,
        memory_limit_bytes=found.memory_limit_bytes,
        cpu_seconds=cpu,
        cpu_limit=quota / QUOTA_PERIOD_US if quota else None,
        throttled_seconds=found.cpu_throttled_seconds,
        oom_kills=found.oom_kills,
        processes=max(found.processes.values(), default=0),
        repositories=tuple(map(bounded, repositories)),
    )


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
