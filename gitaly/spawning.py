"""Where a node's git processes are born: in control groups, if the configuration has them."""

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
    ParentUsage,
    Resources,
    Settings,
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
    config: Config, registry: CollectorRegistry, logger: Logger
) -> AsyncIterator[Birthplace]:
    """Groups and spawners for the length of the block.

    Raises CgroupsUnusable if groups are configured and don't work, unless `cgroups.required` is
    false: then git runs where the node does, and the log says so.
    """
    threads = Blocking()
    settings = settings_of(config)
    if settings.count == 0:
        if any((settings.parent != Resources(), settings.repository != Resources())):
            logger.warning(DISABLED)
        yield Birthplace(spawner=PosixSpawner(), threads=threads)
        return
    try:
        groups, spawner = await _start(settings, registry, logger, threads)
    except CgroupsUnusable as error:
        if settings.is_required:
            raise
        logger.error("cgroups don't work, git runs without limits", error=str(error))
        yield Birthplace(spawner=PosixSpawner(), threads=threads)
        return
    try:
        yield Birthplace(
            spawner=spawner,
            groups=groups,
            pack_config=_pack_config(groups),
            threads=threads,
        )
    finally:
        await spawner.aclose()
        await threads.run(groups.stop)


async def _start(
    settings: Settings, registry: CollectorRegistry, logger: Logger, threads: Blocking
) -> tuple[Groups, CgroupSpawner]:
    groups = make_groups(settings, logger)
    await threads.run(groups.start)
    metrics = SpawnMetrics(registry)

    async def read(path: str) -> Statistics:
        return await threads.run(groups.hierarchy.statistics, path)

    spawner = CgroupSpawner(groups, Inquests(groups, read, metrics, logger), metrics, threads)
    try:
        spawner.start()
        uncounted = PrometheusCommandMetrics(CollectorRegistry(), "")
        await try_out(groups, Processes(spawner, uncounted))
    except BaseException as error:
        await spawner.aclose()
        await threads.run(groups.stop)
        if isinstance(error, OSError):
            raise CgroupsUnusable(f"starting a spawner: {error}") from error
        raise
    registry.register(CgroupCollector(groups))
    return groups, spawner


async def try_groups(config: Config, logger: Logger) -> int:
    """Make the groups, have a process born in one, remove them: the version of control groups.

    Raises CgroupsUnusable.
    """
    threads = Blocking()
    groups, spawner = await _start(settings_of(config), CollectorRegistry(), logger, threads)
    await spawner.aclose()
    await threads.run(groups.stop)
    return groups.hierarchy.version


def make_groups(settings: Settings, logger: Logger) -> Groups:
    """The groups of this process. Raises CgroupsUnusable if no control groups are mounted."""
    version = version_at(settings.mountpoint)
    if version is None:
        raise CgroupsUnusable(
            f"no control groups are mounted at {settings.mountpoint}: mount them, or set"
            " cgroups.mountpoint or cgroups.repositories.count = 0"
        )
    hierarchy: Hierarchy = (Version1 if version == 1 else Version2)(settings.mountpoint)
    choice = Choice(settings, random.Random())  # noqa: S311  # it spreads load
    return Groups(hierarchy, settings, choice, os.getpid(), logger)


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
