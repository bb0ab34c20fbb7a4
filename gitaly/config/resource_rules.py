"""What must hold for limits, groups, caches, object storage and experiments.

Keys are relative to the table.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from gitaly.config.checks import (
    NO_TIME,
    at_least,
    directory_exists,
    is_absolute,
    more_than,
    not_empty,
    not_negative,
    within,
)
from gitaly.config.errors import Problem, found
from gitaly.config.extensions import BackupConfig, OffloadingConfig, RaftConfig, TransactionsConfig
from gitaly.config.go_text import quote
from gitaly.config.resources import (
    CacheConfig,
    CgroupsConfig,
    ConcurrencyConfig,
    LimitsConfig,
    PackObjectsCacheConfig,
    PackObjectsLimitingConfig,
)
from gitaly.config.sections import DailyMaintenanceConfig
from gitaly.config.urls import url_problem

DAY: Final = timedelta(hours=24)
CGROUP_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}", re.ASCII)
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)


def maintenance_problems(
    maintenance: DailyMaintenanceConfig, storages: Sequence[str]
) -> Iterator[Problem]:
    """A window that is switched off may say anything."""
    if maintenance.disabled:
        return
    yield from found(within(maintenance.start_hour, 0, 23), "start_hour")
    yield from found(within(maintenance.start_minute, 0, 59), "start_minute")
    yield from found(within(maintenance.duration, NO_TIME, DAY), "duration")
    for index, name in enumerate(maintenance.storages):
        if name not in storages:
            yield Problem(("storages", f"[{index}]"), f"doesn't exist: {quote(name)}")


def cgroups_problems(cgroups: CgroupsConfig) -> Iterator[Problem]:
    """All keys name the groups of repositories, even those whose value stands in their parent."""
    for problem in _cgroups_problems(cgroups):
        yield problem.below("repositories")


def _cgroups_problems(cgroups: CgroupsConfig) -> Iterator[Problem]:
    groups = cgroups.repositories
    yield from found(within(groups.max_cgroups_per_repo, 0, groups.count), "max_cgroups_per_repo")
    yield from found(not_negative(cgroups.memory_bytes), "memory_bytes")
    yield from found(not_negative(cgroups.cpu_quota_us), "cpu_quota_us")
    for name in ("memory_bytes", "cpu_shares", "cpu_quota_us"):
        parent = getattr(cgroups, name)
        if parent > 0:
            yield from found(within(getattr(groups, name), 0, parent), name)
    for index in range(len(groups.named)):
        for problem in _named_cgroup_problems(cgroups, index):
            yield problem.below(f"[{index}]").below("named")
        if not groups.count:
            yield Problem(("named", f"[{index}]", "name"), "has no effect: count is not set")


def _named_cgroup_problems(cgroups: CgroupsConfig, index: int) -> Iterator[Problem]:
    tables = cgroups.repositories.named
    table = tables[index]
    if CGROUP_NAME.fullmatch(table.name) is None:
        text = f"{quote(table.name)} is not a letter followed by letters, digits, - or _"
        yield Problem(("name",), text)
    yield from found(not_empty(table.storage), "storage")
    yield from found(not_empty(table.relative_path), "relative_path")
    for name in ("memory_bytes", "cpu_shares", "cpu_quota_us"):
        value, parent = getattr(table, name), getattr(cgroups, name)
        if parent > 0:
            yield from found(within(value, 0, parent), name)
        else:
            yield from found(not_negative(value), name)
    for other in tables[:index]:
        if (other.storage, other.relative_path) == (table.storage, table.relative_path):
            yield Problem(("relative_path",), f"has a group already: {quote(other.name)}")
        limits = ("memory_bytes", "cpu_shares", "cpu_quota_us")
        if other.name == table.name and any(getattr(other, x) != getattr(table, x) for x in limits):
            yield Problem(("name",), f"{quote(table.name)} has other limits above")


def concurrency_problems(tables: Sequence[ConcurrencyConfig]) -> Iterator[Problem]:
    """Limits for calls without a user are checked only if they limit anything."""
    for index, limits in enumerate(tables):
        for problem in _limits_problems(limits):
            yield problem.below(f"[{index}]")
        for problem in _unauthenticated_problems(limits.unauthenticated):
            yield problem.below(f"[{index}]")


def pack_objects_limiting_problems(limits: PackObjectsLimitingConfig) -> Iterator[Problem]:
    """As for other limits, but the queue has two names here."""
    yield from found(at_least(limits.max_concurrency, 0), "max_concurrency")
    yield from found(at_least(limits.max_per_repo, 0), "max_per_repo")
    yield from found(at_least(limits.max_queue_wait, NO_TIME), "max_queue_wait")
    if limits.max_queue_size:
        yield from found(more_than(limits.max_queue_size, 0), "max_queue_size")
    if limits.max_queue_length:
        yield from found(more_than(limits.max_queue_length, 0), "max_queue_length")
    if not limits.max_queue_size and not limits.max_queue_length:
        text = "at least one of max_queue_size or max_queue_length must be set"
        yield Problem(("max_queue_size",), text)
    yield from _adaptive_problems(limits)
    yield from _unauthenticated_problems(limits.unauthenticated)


def _limits_problems(limits: LimitsConfig) -> Iterator[Problem]:
    yield from found(at_least(limits.max_concurrency, 0), "max_concurrency")
    yield from found(at_least(limits.max_per_repo, 0), "max_per_repo")
    yield from found(more_than(limits.max_queue_size, 0), "max_queue_size")
    yield from found(at_least(limits.max_queue_wait, NO_TIME), "max_queue_wait")
    yield from _adaptive_problems(limits)


def _adaptive_problems(limits: LimitsConfig) -> Iterator[Problem]:
    if limits.adaptive:
        yield from found(more_than(limits.min_limit, 0), "min_limit")
        yield from found(at_least(limits.max_limit, limits.initial_limit), "max_limit")
        yield from found(at_least(limits.initial_limit, limits.min_limit), "initial_limit")


def _unauthenticated_problems(limits: LimitsConfig) -> Iterator[Problem]:
    if limits.is_set:
        for problem in _limits_problems(limits):
            yield problem.below("unauthenticated")


def cache_problems(cache: PackObjectsCacheConfig) -> Iterator[Problem]:
    """A cache that is off may say anything."""
    if cache.enabled:
        yield from found(is_absolute(cache.dir), "dir")
        yield from found(at_least(cache.max_age, NO_TIME), "max_age")
        yield from archive_cache_problems(cache)


def archive_cache_problems(cache: CacheConfig) -> Iterator[Problem]:
    """Of the keys that are ours. The others are Gitaly's, which looks at none of them."""
    if cache.enabled:
        yield from found(at_least(cache.max_bytes, 0), "max_bytes")
        yield from found(at_least(cache.min_free_bytes, 0), "min_free_bytes")


def backup_problems(backup: BackupConfig) -> Iterator[Problem]:
    """Whether the URLs lead anywhere is not asked."""
    yield from found(url_problem(backup.go_cloud_url), "go_cloud_url")
    yield from found(url_problem(backup.wal_backup_go_cloud_url), "wal_backup_go_cloud_url")


def raft_problems(raft: RaftConfig, transactions: TransactionsConfig) -> Iterator[Problem]:
    """The key of the round-trip time is misspelt, as tools know it."""
    if not raft.enabled:
        return
    if not transactions.enabled:
        yield Problem(("enabled",), "transactions must be enabled to enable Raft")
    yield from found(not_empty(raft.cluster_id), "cluster_id")
    yield from found(more_than(raft.rtt_milliseconds, 0), "rtt_millisecond")
    yield from found(more_than(raft.election_rtt, 0), "election_rtt")
    yield from found(more_than(raft.heartbeat_rtt, 0), "heartbeat_rtt")
    yield from found(is_absolute(raft.snapshot_dir), "snapshot_dir")
    yield from found(directory_exists(raft.snapshot_dir))
    if raft.cluster_id and (text := _uuid_problem(raft.cluster_id)):
        yield Problem(("cluster_id",), f"invalid UUID format for ClusterID: {text}")


def _uuid_problem(text: str) -> str | None:
    """A UUID is written plainly, in braces, without dashes or as a URN."""
    match len(text):
        case 32:
            dashed = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
        case 36:
            dashed = text
        case 38:
            dashed = text[1:-1]
        case 45:
            if text[:9].lower() != "urn:uuid:":
                return f"invalid urn prefix: {quote(text[:9])}"
            dashed = text[9:]
        case length:
            return f"invalid UUID length: {length}"
    return None if UUID.fullmatch(dashed) else "invalid UUID format"


def offloading_problems(offloading: OffloadingConfig) -> Iterator[Problem]:
    """What does not exist is told of the table, not of the key."""
    if not offloading.enabled:
        return
    yield from found(url_problem(offloading.go_cloud_url), "go_cloud_url")
    if offloading.cache_root:
        yield from found(is_absolute(offloading.cache_root), "cache_root")
        yield from found(directory_exists(offloading.cache_root))
