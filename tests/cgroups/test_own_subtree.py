"""Groups below the node's own one, on a directory tree with the kernel's semantics."""

import io
import os
import random
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gitaly.cgroups import (
    CgroupsUnusable,
    Choice,
    Groups,
    OwnGroupUnusable,
    PlaceUnusable,
    Resources,
    Settings,
    Site,
    Version1,
    Version2,
)
from gitaly.observe.log import make_logger
from gitaly.spawning import start_groups
from gitaly.storage import Blocking
from tests.cgroups.kernel import Kernel

UNIT = "system.slice/gitaly.service"
LIMITS = Resources(memory_bytes=1 << 30, cpu_shares=512)
PID = os.getpid()
STRANGER = 1  # a process that is not ours
BOTH = ["cpu", "memory"]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    (tmp_path / "cgroup").mkdir()
    kernel = Kernel(tmp_path / "cgroup")
    kernel.install(monkeypatch)
    return kernel


@pytest.fixture
def unit(kernel: Kernel) -> Kernel:
    """A systemd unit with Delegate=yes, and the node in it."""
    os.makedirs(kernel.root / UNIT)
    for group in ("", "system.slice"):
        kernel.write_control(group, BOTH)
    kernel.foreign |= {"", "system.slice"}
    kernel.live_in(UNIT)
    return kernel


def version2(kernel: Kernel) -> Version2:
    return Version2(str(kernel.root), str(kernel.process))


def own_site(kernel: Kernel, configured_root: str = "gitaly") -> Site:
    return version2(kernel).own_site(configured_root, PID)


def groups_at(site: Site) -> Groups:
    settings = Settings(hierarchy_root=site.root, count=10, repository=LIMITS)
    choice = Choice(settings, random.Random(1))
    return Groups(site.hierarchy, settings, choice, PID, make_logger(io.BytesIO()))


def refusal_at(kernel: Kernel, root: str = "gitaly") -> PlaceUnusable:
    with pytest.raises(PlaceUnusable) as caught:
        groups_at(Site(hierarchy=version2(kernel), root=root)).start()
    return caught.value


def control(kernel: Kernel, group: str) -> list[str]:
    return (kernel.root / group / "cgroup.subtree_control").read_text().split()


# A systemd unit


def test_a_place_of_somebody_elses_is_refused_and_may_be_replaced(unit: Kernel) -> None:
    assert "set Delegate=yes in the node's systemd unit" in refusal_at(unit).message
    assert unit.groups() == ["system.slice", UNIT]


def test_a_group_with_the_node_in_it_gives_no_controllers(unit: Kernel) -> None:
    assert "has processes of its own" in refusal_at(unit, UNIT).message
    assert unit.groups() == ["system.slice", UNIT]


@pytest.mark.parametrize("configured", ["gitaly", UNIT])
def test_a_node_in_a_delegated_unit_steps_aside_and_makes_groups_there(
    unit: Kernel, configured: str
) -> None:
    site = own_site(unit, configured)
    site.enter()
    assert unit.processes(UNIT) == []
    assert unit.processes(f"{UNIT}/node-{PID}") == [PID]
    groups = groups_at(site)
    groups.start()
    assert groups.ensure("repos-4").path == f"{UNIT}/gitaly-{PID}/repos-4"
    assert control(unit, UNIT) == BOTH
    limit = unit.root / UNIT / f"gitaly-{PID}/repos-4/memory.max"
    assert limit.read_text() == f"{1 << 30}\n"


def test_a_configured_place_within_the_own_group_is_kept(unit: Kernel) -> None:
    assert own_site(unit, f"{UNIT}/git").root == f"{UNIT}/git"
    assert own_site(unit, f"{UNIT}-other").root == UNIT


def test_the_end_puts_everything_back(unit: Kernel) -> None:
    site = own_site(unit, f"{UNIT}/git")
    site.enter()
    groups = groups_at(site)
    groups.start()
    groups.stop()
    site.leave()
    assert unit.groups() == ["system.slice", UNIT]
    assert unit.processes(UNIT) == [PID]
    assert control(unit, UNIT) == []


def test_the_node_stays_aside_while_others_have_groups_there(unit: Kernel) -> None:
    site = own_site(unit)
    site.enter()
    groups = groups_at(site)
    groups.start()
    os.mkdir(unit.root / UNIT / "other")
    groups.stop()
    site.leave()
    assert unit.processes(f"{UNIT}/node-{PID}") == [PID]
    assert control(unit, UNIT) == BOTH


def test_leaves_of_the_dead_are_removed_and_those_of_the_living_are_not(unit: Kernel) -> None:
    for leaf in ("node-99999999", "node-99999998", "node-x"):
        os.mkdir(unit.root / UNIT / leaf)
    unit.put(f"{UNIT}/node-99999998", STRANGER)
    own_site(unit).enter()
    left = {Path(group).name for group in unit.groups() if group.startswith(f"{UNIT}/")}
    assert left == {"node-99999998", "node-x", f"node-{PID}"}


def test_an_own_leaf_of_an_earlier_life_is_used_again(unit: Kernel) -> None:
    """In a container the node has the same number after each start."""
    os.mkdir(unit.root / UNIT / f"node-{PID}")
    own_site(unit).enter()
    assert unit.processes(f"{UNIT}/node-{PID}") == [PID]


def test_a_node_that_systemd_has_put_aside_needs_not_step_aside(unit: Kernel) -> None:
    """DelegateSubgroup=node: the unit's group is marked, and has no processes."""
    os.mkdir(unit.root / UNIT / "node")
    unit.live_in(f"{UNIT}/node")
    unit.put(UNIT)
    unit.marked.add(UNIT)
    site = own_site(unit)
    site.enter()
    groups = groups_at(site)
    groups.start()
    assert groups.parent_path == f"{UNIT}/gitaly-{PID}"
    groups.stop()
    site.leave()
    assert unit.groups() == ["system.slice", UNIT, f"{UNIT}/node"]
    assert unit.processes(f"{UNIT}/node") == [PID]


def test_the_superuser_takes_no_group_above_that_nobody_gave_him(unit: Kernel) -> None:
    unit.foreign.clear()
    site = own_site(unit)
    assert site.root == UNIT


def test_a_user_whose_systemd_owns_more_stays_within_his_unit(
    unit: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    unit.foreign.clear()
    assert own_site(unit).root == UNIT


def test_a_user_in_a_subgroup_of_his_unit_takes_the_unit(
    unit: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    os.mkdir(unit.root / UNIT / "node")
    unit.put(UNIT)
    unit.live_in(f"{UNIT}/node")
    assert own_site(unit).root == UNIT


def test_a_process_in_the_leaf_of_a_node_takes_the_group_above_it(unit: Kernel) -> None:
    """`docker exec` puts it there, once the container's own group has controllers on."""
    os.mkdir(unit.root / UNIT / "node-7")
    unit.put(UNIT)
    unit.live_in(f"{UNIT}/node-7", 7)
    site = own_site(unit)
    site.enter()
    assert site.root == UNIT
    assert unit.processes(f"{UNIT}/node-7") == [PID, 7]


def test_a_unit_that_is_not_delegated_is_said_to_be_so(unit: Kernel) -> None:
    unit.foreign.add(UNIT)
    with pytest.raises(CgroupsUnusable, match="is not delegated to the node: set Delegate=yes"):
        own_site(unit)


async def test_who_is_in_no_delegated_group_is_told_from_those_who_lack_more(unit: Kernel) -> None:
    """`gitaly check` in a shell is no node: what is refused there may work in the node's unit."""
    unit.foreign.add(UNIT)
    settings = Settings(mountpoint=str(unit.root), count=1)
    logger, threads = make_logger(io.BytesIO()), Blocking()
    with pytest.raises(OwnGroupUnusable, match="nor can they be made below the node's own"):
        await start_groups(version2(unit), settings, CollectorRegistry(), logger, threads)
    unit.foreign.remove(UNIT)
    (unit.root / UNIT / "cgroup.controllers").write_text("cpu pids\n")
    with pytest.raises(CgroupsUnusable, match="lacks the controllers memory") as caught:
        await start_groups(version2(unit), settings, CollectorRegistry(), logger, threads)
    assert not isinstance(caught.value, OwnGroupUnusable)


def test_a_unit_without_a_controller_is_said_to_lack_it(unit: Kernel) -> None:
    (unit.root / UNIT / "cgroup.controllers").write_text("cpu pids\n")
    with pytest.raises(CgroupsUnusable, match=f"{UNIT} lacks the controllers memory: delegate"):
        own_site(unit)


def test_other_processes_are_named_and_left_alone_and_the_node_goes_back(unit: Kernel) -> None:
    unit.live_in(UNIT, STRANGER)
    name = Path(f"/proc/{STRANGER}/comm").read_text().strip()
    with pytest.raises(CgroupsUnusable) as caught:
        own_site(unit).enter()
    assert f"processes besides the node, {STRANGER} ({name}), and" in caught.value.message
    assert f"mkdir {unit.root}/{UNIT}/init && echo PID" in caught.value.message
    assert sorted(unit.processes(UNIT)) == sorted([PID, STRANGER])
    assert unit.groups() == ["system.slice", UNIT]


def test_a_node_that_must_not_move_says_so(unit: Kernel) -> None:
    site = own_site(unit)
    unit.foreign.add(UNIT)
    with pytest.raises(CgroupsUnusable, match=r"the node cannot step aside into .* denied"):
        site.enter()
    assert unit.processes(UNIT) == [PID]


# A container


@pytest.fixture
def container(kernel: Kernel) -> Kernel:
    """The mount shows the container's own group, and the node is in it."""
    kernel.contain()
    kernel.live_in("")
    return kernel


def test_a_node_alone_in_its_container_makes_the_configured_group(container: Kernel) -> None:
    refusal_at(container)
    site = own_site(container)
    site.enter()
    groups = groups_at(site)
    groups.start()
    assert groups.parent_path == f"gitaly/gitaly-{PID}"
    assert container.processes(f"node-{PID}") == [PID]
    groups.stop()
    site.leave()
    assert (container.groups(), container.processes("")) == ([], [PID])


def test_a_container_that_reads_a_path_of_the_host_still_finds_its_group(
    container: Kernel,
) -> None:
    (container.process / "cgroup").write_text("0::/docker/4711\n")
    assert own_site(container).root == "gitaly"


def test_a_group_that_is_not_visible_is_told(container: Kernel) -> None:
    container.put("")
    (container.process / "cgroup").write_text("0::/../4711\n")
    with pytest.raises(CgroupsUnusable, match="--cgroupns=private"):
        own_site(container)


def test_the_topmost_group_of_a_machine_is_nobodys_to_delegate(kernel: Kernel) -> None:
    kernel.live_in("")
    with pytest.raises(CgroupsUnusable, match="runs in the topmost group"):
        own_site(kernel)


# Version 1


def test_version_1_has_a_group_of_its_own_in_each_hierarchy(tmp_path: Path) -> None:
    for path in ("cgroup/memory/a/b", "cgroup/cpu/c", "process"):
        os.makedirs(tmp_path / path)
    for path in ("memory", "memory/a/b", "cpu", "cpu/c"):
        (tmp_path / "cgroup" / path / "tasks").write_text("")
    (tmp_path / "process/cgroup").write_text("3:memory:/a/b\n2:cpu,cpuacct:/c\n0::/\n")
    mountpoint = str(tmp_path / "cgroup")
    site = Version1(mountpoint, str(tmp_path / "process")).own_site("gitaly", PID)
    groups = groups_at(site)
    assert groups.hierarchy.directories(groups.parent_path) == [
        f"{mountpoint}/memory/a/b/gitaly-{PID}",
        f"{mountpoint}/cpu/c/gitaly-{PID}",
    ]
    assert groups.hierarchy.homes == (
        f"{mountpoint}/memory/a/b/tasks",
        f"{mountpoint}/cpu/c/tasks",
    )
