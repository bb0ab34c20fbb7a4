"""Groups on the controllers of this machine, whichever version it has."""

import contextlib
import io
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gitaly.cgroups import Choice, Groups, Resources, Settings
from gitaly.observe.log import make_logger
from tests.cgroups.support import hierarchy, is_unified, tops

DEAD = 99_999_999  # no process has this number
SHARES_512 = "59" if is_unified() else "512"
# Files by what they hold in a group with 512 MiB, 512 shares and a quota of 50 ms.
OF_VERSION_1 = {
    "memory.limit_in_bytes": str(1 << 29),
    "cpu.shares": "512",
    "cpu.cfs_quota_us": "50000",
    "cpu.cfs_period_us": "100000",
}
OF_VERSION_2 = {
    "memory.max": str(1 << 29),
    "cpu.weight": "59",
    "cpu.max": "50000 100000",
    "cgroup.subtree_control": "",
}
PARENT_OF_VERSION_1 = {
    "memory.limit_in_bytes": str(1 << 30),
    "cpu.shares": "1024",
    "cpu.cfs_quota_us": "200000",
    "cpu.cfs_period_us": "100000",
}
PARENT_OF_VERSION_2 = {
    "memory.max": str(1 << 30),
    "cpu.weight": "100",
    "cpu.max": "200000 100000",
    "cgroup.subtree_control": "cpu memory",
}


def groups_in(
    root: str,
    pid: int = DEAD,
    *,
    count: int = 4,
    parent: Resources = Resources(),  # noqa: B008 - it never changes
    repository: Resources = Resources(),  # noqa: B008
) -> Groups:
    settings = Settings(hierarchy_root=root, count=count, parent=parent, repository=repository)
    choice = Choice(settings, random.Random(1))
    return Groups(hierarchy(), settings, choice, pid, make_logger(io.BytesIO()))


def shares_of(root: str, group: str = "repos-0") -> str:
    """What the kernel has of cpu_shares, in the words of its version."""
    cpu = hierarchy().directories(f"{root}/gitaly-{DEAD}/{group}")[-1 if is_unified() else 1]
    name = "cpu.weight" if is_unified() else "cpu.shares"
    return Path(cpu, name).read_text().strip()


def existing(root: str) -> list[str]:
    return sorted(p.name for p in (tops()[0] / root).iterdir() if p.is_dir())


@contextlib.contextmanager
def inhabited(group: str) -> Iterator[int]:
    """A process that is in a group, and uses some memory there."""
    door = f"{group}/{'cgroup.procs' if is_unified() else 'tasks'}"
    script = f"echo 0 >{door}; x=$(head -c 3000000 /dev/zero | tr '\\0' x); echo; read y"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.communicate()


def contents(path: str, wanted: dict[str, str]) -> dict[str, str]:
    """What these files hold, in whichever hierarchy they are."""
    found = {}
    for name in wanted:
        [file] = [
            Path(top, name) for top in hierarchy().directories(path) if Path(top, name).exists()
        ]
        found[name] = file.read_text().strip()
    return found


def test_the_layout_and_the_files_are_those_of_the_reference(root: str) -> None:
    groups = groups_in(
        root,
        parent=Resources(memory_bytes=1 << 30, cpu_shares=1024, cpu_quota_us=200_000),
        repository=Resources(memory_bytes=1 << 29, cpu_shares=512, cpu_quota_us=50_000),
    )
    groups.start()
    group = groups.ensure("repos-2")
    assert group.path == f"{root}/gitaly-{DEAD}/repos-2"
    parent = PARENT_OF_VERSION_2 if is_unified() else PARENT_OF_VERSION_1
    child = OF_VERSION_2 if is_unified() else OF_VERSION_1
    for name, wanted in (("", parent), ("/repos-0", child), ("/repos-2", child)):
        assert contents(f"{root}/gitaly-{DEAD}{name}", wanted) == wanted
    groups.stop()
    assert existing(root) == []


def test_children_together_may_have_more_than_their_parent(root: str) -> None:
    half = Resources(memory_bytes=64 << 20)
    groups = groups_in(root, parent=Resources(memory_bytes=100 << 20), repository=half)
    groups.start()
    for number in range(4):
        groups.ensure(f"repos-{number}")
    groups.stop()


def test_groups_of_a_dead_node_are_removed_though_there_were_more_of_them(root: str) -> None:
    dead = groups_in(root, count=8)
    dead.start()
    for number in range(8):
        dead.ensure(f"repos-{number}")
    living = groups_in(root, os.getpid(), count=2)
    living.start()
    assert existing(root) == [f"gitaly-{os.getpid()}"]
    living.stop()


def test_groups_of_the_dead_in_which_somebody_lives_stay(root: str) -> None:
    dead = groups_in(root)
    dead.start()
    group = dead.hierarchy.directories(f"{dead.parent_path}/repos-0")[0]
    with inhabited(group):
        living = groups_in(root, os.getpid())
        living.start()
        assert existing(root) == [f"gitaly-{os.getpid()}", f"gitaly-{DEAD}"]
        living.stop()
    dead.stop()


def test_groups_of_an_earlier_process_with_our_number_are_taken_over(root: str) -> None:
    """In a container the node has the same number after each start."""
    before = groups_in(root, repository=Resources(cpu_shares=256))
    before.start()
    group = before.hierarchy.directories(f"{before.parent_path}/repos-0")[0]
    with inhabited(group):
        groups = groups_in(root, repository=Resources(cpu_shares=512))
        groups.start()
        assert shares_of(root) == SHARES_512
    groups.stop()


def test_a_group_removed_while_nobody_looked_is_made_again_with_its_limits(root: str) -> None:
    groups = groups_in(root, repository=Resources(cpu_shares=512))
    groups.start()
    groups.hierarchy.remove(groups.parent_path)
    groups.repair("repos-0")
    assert shares_of(root) == SHARES_512
    groups.stop()


def test_statistics_of_a_group_with_a_process_in_it(root: str) -> None:
    groups = groups_in(root, repository=Resources(memory_bytes=64 << 20))
    groups.start()
    path = f"{groups.parent_path}/repos-0"
    with inhabited(groups.hierarchy.directories(path)[0]):
        found = groups.hierarchy.statistics(path)
    assert found.memory_limit_bytes == 64 << 20
    assert (found.anonymous_bytes or 0) > 1_000_000
    assert (found.memory_bytes or 0) >= (found.anonymous_bytes or 0)
    assert (found.memory_peak_bytes or 0) >= (found.anonymous_bytes or 0)
    assert (found.oom_kills, found.is_under_oom, found.cpu_periods) == (0, False, 0)
    assert found.limit_hits is not None
    if is_unified():
        assert found.processes.items() >= {"memory": 1, "cpu": 1}.items()
        assert found.memory_events == {"high": 0, "max": found.limit_hits, "oom": 0}
        assert (found.page_faults or 0) > 500
        assert (found.cpu_user or 0) + (found.cpu_kernel or 0) > 0
    else:  # it has entered the first hierarchy only
        assert found.processes == {"memory": 1, "cpu": 0}
    groups.stop()
