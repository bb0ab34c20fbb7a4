"""What is wrong with a node, in sentences, told from its snapshot."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gitaly.observe.snapshot import Snapshot

DESCRIPTORS_SHARE: Final = 0.9
SLOW_LOOP_SECONDS: Final = 0.25
MEMORY_SHARE: Final = 0.95
DAY_SECONDS: Final = 86400
RECENT_SECONDS: Final = 300.0
COUNTED: Final = {
    "auth": "authentication",
    "limit": "limits",
    "memory": "memory limits",
    "overload": "overload",
    "hook": "hooks",
    "error": "errors",
}


def judged(snapshot: Snapshot) -> Snapshot:
    """The same with what it says about the node's health."""
    wrong = tuple(_wrong(snapshot))
    return replace(snapshot, wrong=wrong, remarks=tuple(_remarks(snapshot)), is_healthy=not wrong)


def _wrong(snapshot: Snapshot) -> Iterator[str]:
    node = snapshot.node
    if node.state != "serving":
        yield f"the node is {node.state}: it takes no new calls"
    if node.loop_lag_seconds is None:
        where = f", it is at {node.stuck_at[-1]}" if node.stuck_at else ""
        yield f"the event loop has not moved for {node.loop_patience_seconds:g} seconds{where}"
    for storage in snapshot.storages:
        if storage.problem:
            yield f'storage "{storage.name}" ({storage.path}): {storage.problem}'
    yield from _late_certificate(snapshot, "refused", "now")
    if snapshot.reload.at and not snapshot.reload.is_accepted:
        yield f"the configuration was not reloaded: {snapshot.reload.text}"
    if node.descriptors_limit and node.descriptors > DESCRIPTORS_SHARE * node.descriptors_limit:
        yield (
            f"{node.descriptors} of {node.descriptors_limit} file descriptors are in use:"
            " soon no connection can be accepted"
        )


def _remarks(snapshot: Snapshot) -> Iterator[str]:
    lag = snapshot.node.loop_lag_seconds
    if lag is not None and lag > SLOW_LOOP_SECONDS:
        yield f"the event loop is slow: it answered after {lag:.2f} seconds"
    for queue in snapshot.queues:
        full = [key for key in queue.busiest if queue.places and key.waiting >= queue.places]
        if full and not queue.is_shadow:
            yield f'limit {queue.name}: no place left to wait for "{full[0].key}"'
    parent = snapshot.cgroups.parent
    if parent.anonymous_bytes is not None and parent.memory_limit_bytes:
        share = parent.anonymous_bytes / parent.memory_limit_bytes
        if share > MEMORY_SHARE:
            yield f"git processes hold {share:.0%} of the memory that they may use together"
    yield from _late_certificate(snapshot, "soon")
    if snapshot.access.mode == "transitioning":
        yield "calls without a good token are let in: auth.transitioning is set"
    if snapshot.reload.waiting:
        yield f"these keys of the file need a restart: {', '.join(snapshot.reload.waiting)}"
    yield from _refused(snapshot)


def _late_certificate(snapshot: Snapshot, *states: str) -> Iterator[str]:
    found = snapshot.certificate
    if found.state not in states:
        return
    what = f"the TLS certificate of {found.address} ({found.name})"
    if found.problem:
        yield f"{what} is refused by every client: {found.problem}"
    else:
        yield f"{what} expires in {(found.expires - snapshot.taken) / DAY_SECONDS:.1f} days"


def _refused(snapshot: Snapshot) -> Iterator[str]:
    """What was refused or failed within the last minutes, by kind."""
    kinds: dict[str, int] = {}
    for refusal in snapshot.refusals:
        if snapshot.taken - refusal.last <= RECENT_SECONDS:
            kinds[refusal.kind] = kinds.get(refusal.kind, 0) + refusal.count
    if kinds:
        told = ", ".join(f"{COUNTED.get(kind, kind)} {n}" for kind, n in sorted(kinds.items()))
        yield f"refused or failed, the last within {RECENT_SECONDS / 60:g} minutes: {told}"
