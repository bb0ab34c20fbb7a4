"""Groups of version 1, on the controllers of this machine."""

import contextlib
import errno
import io
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly.cgroups import CgroupsUnusable, Choice, Groups, Resources, Settings, Version1
from gitaly.cgroups.remedies import remedy
from gitaly.observe.log import make_logger
from tests.cgroups.support import MOUNTPOINT, counts_apart

DEAD = 99_999_999  # no process has this number


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
    return Groups(Version1(MOUNTPOINT), settings, choice, pid, make_logger(io.BytesIO()))


def content(controller: str, root: str, group: str, file: str) -> str:
    return Path(MOUNTPOINT, controller, root, f"gitaly-{DEAD}", group, file).read_text().strip()


def existing(root: str) -> list[str]:
    return sorted(p.name for p in Path(MOUNTPOINT, "memory", root).iterdir() if p.is_dir())


@contextlib.contextmanager
def inhabited(path: str) -> Iterator[int]:
    """A process that is in a group, and uses some memory there."""
    script = f"echo 0 >{path}/tasks; x=$(head -c 3000000 /dev/zero | tr '\\0' x); echo; read y"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.communicate()


def test_the_layout_and_the_files_are_those_of_the_reference(root: str) -> None:
    groups = groups_in(
        root,
        parent=Resources(memory_bytes=1 << 30, cpu_shares=1024, cpu_quota_us=200_000),
        repository=Resources(memory_bytes=1 << 29, cpu_shares=512, cpu_quota_us=50_000),
    )
    groups.start()
    group = groups.ensure("repos-2")
    assert group.path == f"{root}/gitaly-{DEAD}/repos-2"
    for name, memory, shares, quota in (
        ("", 1 << 30, 1024, 200_000),
        ("repos-0", 1 << 29, 512, 50_000),
        ("repos-2", 1 << 29, 512, 50_000),
    ):
        assert content("memory", root, name, "memory.limit_in_bytes") == str(memory)
        assert content("cpu", root, name, "cpu.shares") == str(shares)
        assert content("cpu", root, name, "cpu.cfs_quota_us") == str(quota)
        assert content("cpu", root, name, "cpu.cfs_period_us") == "100000"
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
    memory = dead.hierarchy.directories(f"{dead.parent_path}/repos-0")[0]
    with inhabited(memory):
        living = groups_in(root, os.getpid())
        living.start()
        assert existing(root) == [f"gitaly-{os.getpid()}", f"gitaly-{DEAD}"]
        living.stop()
    dead.stop()


def test_groups_of_an_earlier_process_with_our_number_are_taken_over(root: str) -> None:
    """In a container the node has the same number after each start."""
    before = groups_in(root, repository=Resources(cpu_shares=5))
    before.start()
    memory = before.hierarchy.directories(f"{before.parent_path}/repos-0")[0]
    with inhabited(memory):
        groups = groups_in(root, repository=Resources(cpu_shares=7))
        groups.start()
        assert content("cpu", root, "repos-0", "cpu.shares") == "7"
    groups.stop()


def test_a_memory_limit_below_what_is_in_use_is_said_to_be_so(root: str) -> None:
    before = groups_in(root)
    before.start()
    memory = before.hierarchy.directories(f"{before.parent_path}/repos-0")[0]
    with inhabited(memory):
        groups = groups_in(root, repository=Resources(memory_bytes=4096))
        with pytest.raises(CgroupsUnusable) as caught:
            groups.start()
    assert "setup repository-scoped cgroup" in caught.value.message
    assert "more memory is in use there than the limit allows" in caught.value.message
    before.stop()


def test_a_group_removed_while_nobody_looked_is_made_again_with_its_limits(root: str) -> None:
    groups = groups_in(root, repository=Resources(cpu_shares=7))
    groups.start()
    groups.hierarchy.remove(groups.parent_path)
    groups.repair("repos-0")
    assert content("cpu", root, "repos-0", "cpu.shares") == "7"
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
    assert (found.oom_kills, found.is_under_oom, found.cpu_periods) == (0, False, 0)
    assert found.processes == {"memory": 1, "cpu": 0}
    groups.stop()


@pytest.fixture
def apart() -> None:
    if not counts_apart():
        pytest.skip("cpuacct is mounted together with cpu, or not at all")


def burnt(groups: Groups) -> int:
    """Nanoseconds of CPU that the kernel has counted for processes of the first group."""
    path = f"{groups.parent_path}/repos-0"
    script = "for d in $@; do echo 0 >$d; done; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
    doors = groups.hierarchy.doors(path)
    subprocess.run(["/bin/sh", "-c", script, "sh", *doors], check=True)
    found = groups.hierarchy.statistics(path)
    return (found.cpu_user or 0) + (found.cpu_kernel or 0)


@pytest.mark.usefixtures("apart")
def test_cpu_time_is_counted_where_its_controller_is_mounted_alone(root: str) -> None:
    groups = groups_in(root)
    groups.start()
    assert burnt(groups) > 1_000_000
    assert Path(MOUNTPOINT, "cpuacct", groups.parent_path, "repos-0").is_dir()
    groups.stop()
    assert not Path(MOUNTPOINT, "cpuacct", groups.parent_path).exists()


@pytest.mark.usefixtures("apart")
def test_where_cpu_time_may_not_be_counted_groups_work_without(root: str) -> None:
    hierarchy = Version1(MOUNTPOINT, accounting="/proc/nothing can be made here")
    settings = Settings(hierarchy_root=root, count=1)
    choice = Choice(settings, random.Random(1))
    groups = Groups(hierarchy, settings, choice, DEAD, make_logger(io.BytesIO()))
    groups.start()
    assert len(hierarchy.directories("x")) == len(hierarchy.homes) == 2
    assert len(groups.ensure("repos-0").doors) == 2
    assert hierarchy.statistics(groups.parent_path).cpu_user is None
    groups.stop()


def test_controllers_that_are_not_mounted_are_named(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    with pytest.raises(CgroupsUnusable, match="cgroup v1 controller memory is not mounted at"):
        Version1(str(tmp_path)).prepare()


def test_an_operator_without_rights_is_told_which_chown_helps() -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/sys/fs/cgroup/memory/gitaly")
    advice = remedy(error, Version1("/sys/fs/cgroup"), "gitaly")
    tops = "/sys/fs/cgroup/memory/gitaly /sys/fs/cgroup/cpu/gitaly"
    assert advice.startswith(f"as root: mkdir -p {tops} && chown -R ")
    assert advice.endswith(tops)
