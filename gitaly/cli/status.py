"""`gitaly status`: how a node is doing, in words or as JSON; the exit code says whether well."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gitaly.cli.nodes import CannotLook, Process, processes_of
from gitaly.cli.wording import clock, printable, size, span
from gitaly.config import load
from gitaly.errors import NodeError
from gitaly.observe.snapshot import CacheState, GroupState, QueueState, Snapshot

HEALTHY: Final = 0
WRONG: Final = 1
NOT_RUNNING: Final = 3
NOT_ASKED: Final = 4
MOST_REFUSALS: Final = 5
NOBODY: Final = "no node of this configuration runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How all processes of a node together are doing."""

    exit_code: int
    wrong: tuple[str, ...]
    processes: tuple[Process, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong."""
        return self.exit_code == HEALTHY


def show_status(path: str, *, as_json: bool) -> int:
    """Print it; the exit code is that of the command."""
    try:
        verdict = judge(processes_of(load(path)))
    except CannotLook as error:
        verdict = Verdict(exit_code=NOT_ASKED, wrong=(str(error),), processes=())
    except NodeError as error:
        print(f'config_path "{path}": {error}', file=sys.stderr)
        return NOT_ASKED
    if as_json:
        print(as_text(verdict))
        return verdict.exit_code
    for line in lines_of(verdict):
        print(line, file=sys.stdout if verdict.processes else sys.stderr)
    return verdict.exit_code


def lines_of(verdict: Verdict) -> Iterator[str]:
    """What people read: all processes, and at the end what is wrong."""
    for process in verdict.processes:
        yield from map(printable, _lines(process))
    for text in verdict.wrong:
        yield printable(f"WRONG: {text}")


def judge(processes: Sequence[Process]) -> Verdict:
    """All of them together."""
    if not processes:
        return Verdict(exit_code=NOT_RUNNING, wrong=(NOBODY,), processes=())
    told = [process.snapshot for process in processes if process.snapshot is not None]
    silent = [process.problem for process in processes if process.problem]
    wrong = [text for snapshot in told for text in snapshot.wrong]
    code = NOT_ASKED if silent else WRONG if wrong else HEALTHY
    return Verdict(exit_code=code, wrong=(*silent, *wrong), processes=tuple(processes))


def as_text(verdict: Verdict) -> str:
    """JSON: is_healthy, wrong, and the snapshot of each process."""
    told = {
        "is_healthy": verdict.is_healthy,
        "exit_code": verdict.exit_code,
        "wrong": verdict.wrong,
        "processes": verdict.processes,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def _lines(process: Process) -> Iterator[str]:
    snapshot = process.snapshot
    if snapshot is None:
        return
    node = snapshot.node
    health = "healthy" if process.is_serving else "another process serves"
    if not snapshot.is_healthy:
        health = "something is wrong"
    yield (
        f"gitaly {node.version}, process {node.pid}, {node.state},"
        f" up {span(node.uptime_seconds)}: {health}"
    )
    yield f"  configuration: {node.config_file or '-'}"
    yield f"  {node.mode}"
    yield f"  git: {node.git_version} ({node.git_path})"
    lag = "stuck" if node.loop_lag_seconds is None else span(node.loop_lag_seconds)
    yield (
        f"  process: {size(node.memory_bytes)} memory, {span(node.cpu_seconds)} CPU,"
        f" {node.descriptors} of {node.descriptors_limit} descriptors,"
        f" {node.connections} connections, loop lag {lag}"
    )
    yield from _storages(snapshot)
    yield from _calls(snapshot)
    yield from _queues(snapshot.queues)
    yield from _groups(snapshot)
    yield f"  cache: {_cache(snapshot.cache, 'packs')}"
    if snapshot.archives.is_enabled:
        yield f"  archive cache: {_cache(snapshot.archives, 'archives')}"
    yield from _refusals(snapshot)
    yield f"  authentication: {'; '.join(_access(snapshot))}"
    yield from _certificate(snapshot)
    if snapshot.reload.at:
        how = "" if snapshot.reload.is_accepted else "refused: "
        yield f"  reloaded at {clock(snapshot.reload.at)}: {how}{snapshot.reload.text}"
    for text in snapshot.remarks:
        yield f"  remark: {text}"


def _access(snapshot: Snapshot) -> Iterator[str]:
    yield snapshot.access.mode
    for token in snapshot.access.tokens:
        used = "not used since the start"
        if token.last_used:
            used = f"{token.uses} calls, the last {span(snapshot.taken - token.last_used)} ago"
        yield f"token {token.fingerprint}: {used}"


def _certificate(snapshot: Snapshot) -> Iterator[str]:
    found = snapshot.certificate
    if found.address:
        left = found.expires - snapshot.taken
        when = f"expires in {span(left)}" if left > 0 else "has expired"
        yield f"  certificate of {found.address}: {found.name}, {when}"


def _storages(snapshot: Snapshot) -> Iterator[str]:
    for storage in snapshot.storages:
        room = f", {size(storage.free_bytes)} of {size(storage.total_bytes)} free"
        kind = f", {storage.file_system}" if storage.file_system else ""
        known = room if storage.total_bytes else ""
        yield f'  storage "{storage.name}": {storage.state}{known}{kind}, {storage.path}'


def _calls(snapshot: Snapshot) -> Iterator[str]:
    queued = f", {snapshot.calls_queued} of them queued" if snapshot.calls_queued else ""
    counts = sorted(snapshot.methods, key=lambda method: -(method.running + method.queued))
    methods = ", ".join(f"{m.running + m.queued} {m.rpc.rpartition('/')[2]}" for m in counts)
    yield f"  calls: {snapshot.calls_total} in flight{queued}{methods and f': {methods}'}"
    if snapshot.calls:
        oldest = snapshot.calls[0]
        about = f" of {oldest.repository}" if oldest.repository else ""
        yield f"  oldest call: {oldest.rpc}{about}, for {span(oldest.seconds)} by {oldest.client}"


def _queues(queues: Sequence[QueueState]) -> Iterator[str]:
    for queue in queues:
        if queue.running or queue.waiting:
            first = queue.busiest[0]
            yield (
                f"  limit {queue.name}: {queue.running} running, {queue.waiting} waiting,"
                f" {queue.limit} for one key; busiest {first.key}: {first.running} running,"
                f" {first.waiting} waiting"
            )


def _groups(snapshot: Snapshot) -> Iterator[str]:
    groups = snapshot.cgroups
    if not groups.version:
        yield "  control groups: none"
        return
    yield f"  control groups: {groups.groups_total} (v{groups.version}), {_group(groups.parent)}"
    for group in groups.groups:
        if group.processes > 0 or group.oom_kills:
            yield f"    {group.path.rpartition('/')[2]}: {_group(group)}"


def _group(group: GroupState) -> str:
    limit = f" of {size(group.memory_limit_bytes)}" if group.memory_limit_bytes else ""
    seen = f", {group.repositories[-1]}" if group.repositories else ""
    return (
        f"{size(group.memory_bytes)}{limit} memory, {span(group.cpu_seconds)} CPU,"
        f" {group.oom_kills or 0} OOM kills{seen}"
    )


def _cache(cache: CacheState, things: str) -> str:
    if not cache.is_enabled:
        return f"off; {cache.productions_total} {things} are being computed"
    budget = f" of {size(cache.budget_bytes)}" if cache.budget_bytes else ""
    return (
        f"{cache.entries} {things}, {size(cache.used_bytes)}{budget}; {cache.hits} hits"
        f" ({cache.joined} joined), {cache.misses} misses;"
        f" {cache.productions_total} {things} are being computed"
    )


def _refusals(snapshot: Snapshot) -> Iterator[str]:
    for refusal in snapshot.refusals[:MOST_REFUSALS]:
        times = f" ({refusal.count} times)" if refusal.count > 1 else ""
        about = f", {refusal.repository}" if refusal.repository else ""
        yield (
            f"  refused at {clock(refusal.last)}{times}: {refusal.kind}: {refusal.reason};"
            f" {refusal.rpc.rpartition('/')[2]}{about}, {refusal.client}"
        )
