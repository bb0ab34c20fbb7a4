"""Where a node's git processes are born: in control groups, if the configuration has them."""

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from prometheus_client import CollectorRegistry

from gitaly.cgroups import (
    CgroupCollector,
    CgroupSpawner,
    CgroupsUnusable,
    Choice,
    Groups,
    Hierarchy,
    Inquests,
    NamedGroup,
    OwnGroupUnusable,
    ParentUsage,
    PlaceUnusable,
    Resources,
    Settings,
    Site,
    SpawnMetrics,
    Statistics,
    Version1,
    Version2,
    pack_config,
    parent_usage,
    try_out,
    version_at,
)
from gitaly.config import (
    CgroupRepositoriesConfig,
    CgroupsConfig,
    Config,
    NamedCgroupConfig,
)
from gitaly.git import PosixSpawner, Processes, PrometheusCommandMetrics, Spawner
from gitaly.observe.log import Logger
from gitaly.storage import Blocking

DISABLED: Final = (
    "cgroup support is disabled: cgroups.repositories.count is not set, the limits have no effect"
)
PackConfig = Callable[[str], tuple[tuple[str, str], ...]]  # by placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Birthplace:
    """Where git is born, and what the rest of the node wants to know of it."""

    spawner: Spawner
    groups: Groups | None = None  # None: the node's own group
    pack_config: PackConfig = lambda _: ()
    threads: Blocking

    async def parent_usage(self) -> ParentUsage | None:
        """What all git processes together use, for limits that adapt; None without groups."""
        if self.groups is None:
            return None
        found = await self.threads.run(self.groups.hierarchy.statistics, self.groups.parent_path)
        return parent_usage(found)


@asynccontextmanager
async def birthplace(
    config: Config, registry: CollectorRegistry, logger: Logger, open_files: int | None = None
) -> AsyncIterator[Birthplace]:
    """Groups and spawners for the length of the block.

    `open_files`: the soft limit of what is born; None: the node's own. Raises CgroupsUnusable if
    groups are configured and don't work, unless `cgroups.required` is false: then git runs where
    the node does, and the log says so.
    """
    threads = Blocking()
    settings = settings_of(config)
    if settings.count == 0:
        if any((settings.parent != Resources(), settings.repository != Resources())):
            logger.warning(DISABLED)
        yield Birthplace(spawner=PosixSpawner(open_files), threads=threads)
        return
    try:
        hierarchy = hierarchy_at(settings.mountpoint)
        started = await start_groups(hierarchy, settings, registry, logger, threads, open_files)
    except CgroupsUnusable as error:
        if settings.is_required:
            raise
        logger.error("cgroups don't work, git runs without limits", error=str(error))
        yield Birthplace(spawner=PosixSpawner(open_files), threads=threads)
        return
    try:
        yield Birthplace(
            spawner=started.spawner,
            groups=started.groups,
            pack_config=_pack_config(started.groups),
            threads=threads,
        )
    finally:
        await started.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Groups that exist and the spawner that starts git in them."""

    site: Site
    groups: Groups
    spawner: CgroupSpawner
    threads: Blocking

    async def aclose(self) -> None:
        """End what runs there, remove the groups, and go back where the node was."""
        await self.spawner.aclose()
        await self.threads.run(self.groups.stop)
        await self.threads.run(self.site.leave)


async def start_groups(
    hierarchy: Hierarchy,
    settings: Settings,
    registry: CollectorRegistry,
    logger: Logger,
    threads: Blocking,
    open_files: int | None = None,
) -> Started:
    """Where the configuration says; if that place won't do, below the node's own group.

    Raises CgroupsUnusable, having left nothing behind.
    """
    root = settings.hierarchy_root.strip("/")
    metrics = SpawnMetrics(registry)
    configured = Site(hierarchy=hierarchy, root=root)
    try:
        started = await _start_at(configured, settings, metrics, logger, threads, open_files)
    except PlaceUnusable as refusal:
        try:
            site = await threads.run(hierarchy.own_site, root, os.getpid())
            started = await _start_at(site, settings, metrics, logger, threads, open_files)
        except CgroupsUnusable as error:
            text = f"{refusal}; nor can they be made below the node's own cgroup: {error}"
            kind = OwnGroupUnusable if isinstance(error, OwnGroupUnusable) else CgroupsUnusable
            raise kind(text) from error
        logger.info(
            "cgroups are made below the node's own",
            error=str(refusal),
            **{"cgroup.path": started.groups.parent_path},
        )
    registry.register(CgroupCollector(started.groups))
    return started


async def _start_at(
    site: Site,
    settings: Settings,
    metrics: SpawnMetrics,
    logger: Logger,
    threads: Blocking,
    open_files: int | None,
) -> Started:
    settings = replace(settings, hierarchy_root=site.root)
    choice = Choice(settings, random.Random())  # noqa: S311  # it spreads load
    groups = Groups(site.hierarchy, settings, choice, os.getpid(), logger)

    async def read(path: str) -> Statistics:
        return await threads.run(groups.hierarchy.statistics, path)

    await threads.run(site.enter)
    try:
        await threads.run(groups.start)
    except BaseException:
        await threads.run(site.leave)
        raise
    inquests = Inquests(groups, read, metrics, logger)
    spawner = CgroupSpawner(groups, inquests, metrics, threads, open_files=open_files)
    started = Started(site=site, groups=groups, spawner=spawner, threads=threads)
    try:
        spawner.start()
        uncounted = PrometheusCommandMetrics(CollectorRegistry(), "")
        await try_out(groups, Processes(spawner, uncounted))
    except BaseException as error:
        await started.aclose()
        if isinstance(error, OSError):
            raise CgroupsUnusable(f"starting a spawner: {error}") from error
        raise
    return started


async def try_groups(config: Config, logger: Logger) -> tuple[int, str]:
    """Make the groups, have a process born in one, remove them.

    Returns the version of control groups and the path of the parent group. Raises CgroupsUnusable.
    """
    settings = settings_of(config)
    hierarchy = hierarchy_at(settings.mountpoint)
    started = await start_groups(hierarchy, settings, CollectorRegistry(), logger, Blocking())
    await started.aclose()
    return started.groups.hierarchy.version, started.groups.parent_path


def hierarchy_at(mountpoint: str) -> Hierarchy:
    """What is mounted there. Raises CgroupsUnusable if that is nothing of use."""
    version = version_at(mountpoint)
    if version is None:
        raise CgroupsUnusable(
            f"no control groups are mounted at {mountpoint}: mount them, or set"
            " cgroups.mountpoint or cgroups.repositories.count = 0"
        )
    return Version1(mountpoint) if version == 1 else Version2(mountpoint)


def settings_of(config: Config) -> Settings:
    """The tables `[cgroups]` in the words of the room."""
    cgroups, repositories = config.cgroups, config.cgroups.repositories
    return Settings(
        mountpoint=cgroups.mountpoint,
        hierarchy_root=cgroups.hierarchy_root,
        parent=_resources(cgroups),
        count=repositories.count,
        groups_per_repository=repositories.max_cgroups_per_repo,
        repository=_resources(repositories),
        named={
            f"{table.storage}/{table.relative_path}": NamedGroup(
                name=table.name, resources=_resources(table)
            )
            for table in repositories.named
        },
        is_required=cgroups.required,
    )


def _resources(
    table: CgroupsConfig | CgroupRepositoriesConfig | NamedCgroupConfig,
) -> Resources:
    return Resources(
        memory_bytes=table.memory_bytes,
        cpu_shares=table.cpu_shares,
        cpu_quota_us=table.cpu_quota_us,
    )


def _pack_config(groups: Groups) -> PackConfig:
    cpus = os.cpu_count() or 1

    def config(placement: str) -> tuple[tuple[str, str], ...]:
        return pack_config(groups.limits_of(placement), cpus)

    return config
