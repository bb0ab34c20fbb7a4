"""Groups of version 1, on the controllers of this machine."""

import errno
import io
import random
import subprocess
from pathlib import Path

import pytest

from gitaly.cgroups import CgroupsUnusable, Choice, Groups, Resources, Settings, Version1
from gitaly.cgroups.remedies import remedy
from gitaly.observe.log import make_logger
from tests.cgroups.support import MOUNTPOINT, counts_apart, is_unified, why_no_v1
from tests.cgroups.test_groups import DEAD, groups_in, inhabited


@pytest.fixture
def root(root: str) -> str:
    """A group of our own in the hierarchies of version 1."""
    if is_unified():
        pytest.skip(why_no_v1())
    return root


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
