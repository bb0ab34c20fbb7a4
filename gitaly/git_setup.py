"""How a node runs git, made from its configuration."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from gitaly.config import Config
from gitaly.git import (
    CatfileCollector,
    CatfilePool,
    Git,
    GitBinary,
    Processes,
    PrometheusCommandMetrics,
    find_git,
)
from gitaly.observe.endpoint import BuildInfo
from gitaly.observe.log import Logger
from gitaly.spawning import Birthplace, birthplace
from gitaly.start_log import announce
from gitaly.version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSetup:
    """Which git, where it is born, and the doors to it."""

    binary: GitBinary
    place: Birthplace
    processes: Processes
    git: Git
    catfiles: CatfilePool


@asynccontextmanager
async def running_git(
    config: Config, registry: CollectorRegistry, logger: Logger, open_files: int | None
) -> AsyncIterator[GitSetup]:
    """For the length of the block.

    `open_files`: the children's soft limit; None: the node's. Raises NodeError if there is no git
    that can be used, or no control groups where the configuration asks for them.
    """
    binary = find_git(config.git.bin_path, os.environ)
    registry.register(BuildInfo(version=VERSION, git_version=binary.version.text))
    announce(config, binary, logger)
    async with birthplace(config, registry, logger, open_files) as place:
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
        async with CatfilePool(git, maximum=config.git.catfile_cache_size) as catfiles:
            registry.register(CatfileCollector(catfiles.counts, lambda: catfiles.idle))
            yield GitSetup(
                binary=binary, place=place, processes=processes, git=git, catfiles=catfiles
            )
