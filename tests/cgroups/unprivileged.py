"""A program that starts groups as a node does, tells where everything is, and stops them.

    python -m tests.cgroups.unprivileged MOUNTPOINT CONFIGURED_ROOT [CONTROLLER]

It waits for a line on stdin before it begins, so that somebody can put it into a group. With
CONTROLLER the mount is one of version 2 that offers no other one.
"""

import asyncio
import io
import json
import os
import sys

from prometheus_client import CollectorRegistry

from gitaly.cgroups import CgroupsUnusable, Hierarchy, Resources, Settings, Version2, files
from gitaly.git import Processes, PrometheusCommandMetrics, keep_inherited_descriptors
from gitaly.observe.log import make_logger
from gitaly.spawning import hierarchy_at, start_groups
from gitaly.storage import Blocking
from tests.cgroups.support import groups_of


class WithOneController(Version2):
    """Where v1 holds the controllers for memory and CPU, another one follows the same rules."""

    def __init__(self, mountpoint: str, controller: str) -> None:
        super().__init__(mountpoint)
        self._controller = controller

    def create(self, path: str, _: Resources) -> None:
        """Without limits, but with a controller switched on."""
        os.makedirs(self.directories(path)[0], exist_ok=True)
        self._switch_on(path, f"+{self._controller}")

    def _require_controllers(self, directory: str) -> None:
        """Nothing more is asked for."""


async def tell(hierarchy: Hierarchy, mountpoint: str, root: str) -> dict[str, object]:
    """Where everything is while the groups exist, and where the node is afterwards."""
    limits = Resources(memory_bytes=1 << 30, cpu_shares=512)
    settings = Settings(mountpoint=mountpoint, hierarchy_root=root, count=1, repository=limits)
    log = io.BytesIO()
    logger = make_logger(log, format="json")
    started = await start_groups(hierarchy, settings, CollectorRegistry(), logger, Blocking())
    processes = Processes(started.spawner, PrometheusCommandMetrics(CollectorRegistry(), ""))
    argv = ["/bin/sh", "-c", "cat </proc/self/cgroup"]
    async with processes.run(argv, {}, cmd="sh", placement="a") as child:
        assert child.stdout is not None
        said = (await child.stdout.read_all(10000)).decode()
        assert await child.wait()
    said_of_node = groups_of("self")
    [group] = started.groups.groups()
    allowed = [files.limit(f"{top}/memory.max") for top in hierarchy.directories(group.path)]
    await processes.aclose()
    await started.aclose()
    return {
        "parent": started.groups.parent_path,
        "child": dict(line.split(":", 2)[1:] for line in said.splitlines()),
        "node": said_of_node,
        "limits": allowed,
        "afterwards": groups_of("self"),
        "log": [json.loads(line) for line in log.getvalue().splitlines()],
    }


def main(mountpoint: str, root: str, controller: str = "") -> None:
    sys.stdin.readline()
    keep_inherited_descriptors()
    hierarchy: Hierarchy = (
        WithOneController(mountpoint, controller) if controller else hierarchy_at(mountpoint)
    )
    try:
        told = asyncio.run(tell(hierarchy, mountpoint, root))
    except CgroupsUnusable as error:
        told = {"error": error.message}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
