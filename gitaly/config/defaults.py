"""The defaults that depend on other keys, filled in after everything has been read."""

import os
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar

from gitaly.config.extensions import RaftConfig
from gitaly.config.model import Config
from gitaly.config.resources import (
    AdaptiveLimitingConfig,
    CacheConfig,
    CgroupsConfig,
    PackObjectsLimitingConfig,
    PressureConfig,
    PressuresConfig,
)
from gitaly.config.sections import DailyMaintenanceConfig, GitlabConfig

DATA_DIRECTORY: Final = "+gitaly"  # ours, in the first storage; no repository can be named so
QUEUE_SIZE: Final = 500
PACK_OBJECTS_QUEUE_SIZE: Final = 200

Cache = TypeVar("Cache", bound=CacheConfig)


def with_defaults(config: Config) -> Config:
    """The configuration with every default filled in and its paths as `Config` promises them."""
    return replace(
        config,
        bin_dir=absolute(config.bin_dir),
        runtime_dir=absolute(config.runtime_dir),
        graceful_restart_timeout=config.graceful_restart_timeout or timedelta(minutes=1),
        git=replace(config.git, catfile_cache_size=max(0, config.git.catfile_cache_size) or 100),
        storages=tuple(replace(s, path=clean(s.path)) for s in config.storages),
        logging=replace(
            config.logging,
            format=config.logging.format or "text",
            level=config.logging.level or "info",
        ),
        gitlab=_gitlab(config),
        hooks=replace(config.hooks, custom_hooks_dir=_custom_hooks_dir(config)),
        concurrency=tuple(
            replace(limits, max_queue_size=limits.max_queue_size or QUEUE_SIZE)
            for limits in config.concurrency
        ),
        pack_objects_limiting=_pack_objects_limiting(config.pack_objects_limiting),
        adaptive_limiting=_adaptive_limiting(config.adaptive_limiting),
        daily_maintenance=_daily_maintenance(config),
        cgroups=_cgroups(config.cgroups),
        pack_objects_cache=_cache(config, config.pack_objects_cache, "PackObjectsCache"),
        archive_cache=_cache(config, config.archive_cache, "ArchiveCache"),
        backup=replace(
            config.backup, wal_backup_worker_count=config.backup.wal_backup_worker_count or 1
        ),
        timeout=replace(
            config.timeout,
            upload_pack_negotiation=config.timeout.upload_pack_negotiation or timedelta(minutes=10),
            upload_archive_negotiation=config.timeout.upload_archive_negotiation
            or timedelta(minutes=1),
        ),
        transactions=replace(
            config.transactions,
            max_inactive_partitions=config.transactions.max_inactive_partitions or 100,
        ),
        raft=_raft(config),
    )


def clean(path: str) -> str:
    """The shortest path that means the same without looking at the disk; "." for an empty one."""
    cleaned = os.path.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def absolute(path: str) -> str:
    """The absolute, clean path; an empty one stays empty."""
    return clean(os.path.join(os.getcwd(), path)) if path else ""


def _gitlab(config: Config) -> GitlabConfig:
    gitlab = config.gitlab
    http = replace(gitlab.http_settings, read_timeout=gitlab.http_settings.read_timeout or 300)
    secret_file = gitlab.secret_file
    if not secret_file and not gitlab.secret:
        secret_file = clean(os.path.join(config.gitlab_shell.dir, ".gitlab_shell_secret"))
    return replace(gitlab, http_settings=http, secret_file=secret_file)


def _custom_hooks_dir(config: Config) -> str:
    if config.hooks.custom_hooks_dir or not config.gitlab_shell.dir:
        return config.hooks.custom_hooks_dir
    return clean(os.path.join(config.gitlab_shell.dir, "hooks"))


def _pack_objects_limiting(limits: PackObjectsLimitingConfig) -> PackObjectsLimitingConfig:
    if limits.max_queue_size == 0 and limits.max_queue_length == 0:
        return replace(limits, max_queue_size=PACK_OBJECTS_QUEUE_SIZE)
    if limits.max_queue_size == 0 and limits.max_queue_length > 0:
        return replace(limits, max_queue_size=limits.max_queue_length)
    return limits


def _adaptive_limiting(adaptive: AdaptiveLimitingConfig) -> AdaptiveLimitingConfig:
    pressures = adaptive.psi_pressure
    return replace(
        adaptive,
        psi_pressure=PressuresConfig(
            memory=_pressure(pressures.memory, 10.0, 20.0, 40.0),
            io=_pressure(pressures.io, 10.0, 20.0, 40.0),
            cpu=_pressure(pressures.cpu, 20.0, 25.0, 50.0),
        ),
    )


def _pressure(
    pressure: PressureConfig, warning: float, backoff: float, critical: float
) -> PressureConfig:
    if not pressure.enabled:
        return pressure
    return PressureConfig(
        enabled=True,
        warning_threshold=_positive(pressure.warning_threshold, warning),
        backoff_threshold=_positive(pressure.backoff_threshold, backoff),
        critical_threshold=_positive(pressure.critical_threshold, critical),
        sustain_duration_seconds=int(_positive(pressure.sustain_duration_seconds, 30)),
        fast_fall_ratio=_positive(pressure.fast_fall_ratio, 0.85),
    )


def _positive(value: float, default: float) -> float:
    return value if value > 0 else default


def _daily_maintenance(config: Config) -> DailyMaintenanceConfig:
    """A daily window, unless the file says anything else, be it an empty list of storages."""
    wanted = config.daily_maintenance
    if wanted != DailyMaintenanceConfig() or config.origin.gives("daily_maintenance.storages"):
        return wanted
    return DailyMaintenanceConfig(
        start_hour=12,
        duration=timedelta(minutes=10),
        storages=tuple(storage.name for storage in config.storages),
    )


def _cgroups(cgroups: CgroupsConfig) -> CgroupsConfig:
    groups = cgroups.repositories
    if groups.count == 0:
        groups = replace(groups, count=cgroups.count)
        if groups.memory_bytes == 0 and cgroups.memory.enabled:
            groups = replace(groups, memory_bytes=cgroups.memory.limit)
        if groups.cpu_shares == 0 and cgroups.cpu.enabled:
            groups = replace(groups, cpu_shares=cgroups.cpu.shares)
    if groups.count and not groups.max_cgroups_per_repo:
        groups = replace(groups, max_cgroups_per_repo=1)
    return replace(
        cgroups,
        mountpoint=cgroups.mountpoint or "/sys/fs/cgroup",
        hierarchy_root=cgroups.hierarchy_root or "gitaly",
        repositories=groups,
    )


def _cache(config: Config, cache: Cache, name: str) -> Cache:
    if not cache.enabled:
        return cache
    directory = cache.dir or _in_first_storage(config, name)
    return replace(cache, dir=directory, max_age=cache.max_age or timedelta(minutes=5))


def _raft(config: Config) -> RaftConfig:
    raft = config.raft
    if not raft.enabled:
        return raft
    return replace(
        raft,
        rtt_milliseconds=raft.rtt_milliseconds or 200,
        election_rtt=raft.election_rtt or 20,
        heartbeat_rtt=raft.heartbeat_rtt or 2,
        proposal_conf_change_timeout=raft.proposal_conf_change_timeout or 5000,
        snapshot_dir=raft.snapshot_dir or _in_first_storage(config, "raft/snapshots"),
    )


def _in_first_storage(config: Config, name: str) -> str:
    """A path of our own in the first storage; empty without storages."""
    if not config.storages:
        return ""
    return clean(os.path.join(config.storages[0].path, DATA_DIRECTORY, name))
