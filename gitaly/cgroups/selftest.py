"""Whether a process really is born in its group."""

import asyncio
from typing import Final

from gitaly.cgroups.groups import FIRST, Groups
from gitaly.cgroups.hierarchy import CgroupsUnusable
from gitaly.errors import NodeError
from gitaly.git import Processes

SECONDS: Final = 10.0
CAT: Final = "/bin/cat"


async def try_out(groups: Groups, processes: Processes, key: str = "") -> None:
    """Have a process born in a group and look where it says it is. Raises CgroupsUnusable."""
    try:
        async with (
            asyncio.timeout(SECONDS),
            processes.run([CAT, "/proc/self/cgroup"], {}, cmd="cat", placement=key) as child,
        ):
            assert child.stdout is not None
            said = (await child.stdout.read_all(65536)).decode()
            await child.wait()
    except (NodeError, TimeoutError) as error:
        raise CgroupsUnusable(f"self-test of cgroups: {error or 'nothing happened'}") from error
    paths = [line.split(":", 2)[2] for line in said.splitlines()]
    inside = sum(path.endswith(child.cgroup_path or "?") for path in paths)
    wanted = len(groups.hierarchy.directories(FIRST))
    if inside < wanted:
        raise CgroupsUnusable(
            f"self-test of cgroups: a process was born outside its group {child.cgroup_path}:"
            f" it is in {' '.join(said.split())}"
        )
