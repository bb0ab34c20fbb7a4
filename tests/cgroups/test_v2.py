"""Groups of version 2, on a directory tree with the kernel's semantics."""

import errno
import io
import os
import random
from pathlib import Path

import pytest

from gitaly.cgroups import (
    CgroupsUnusable,
    Choice,
    Groups,
    Resources,
    Settings,
    Version2,
    parent_usage,
    version_at,
)
from gitaly.cgroups.v2 import weight_of
from gitaly.observe.log import make_logger
from tests.cgroups.kernel import Kernel

LIMITS = Resources(memory_bytes=1 << 30, cpu_shares=512, cpu_quota_us=50_000)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    (tmp_path / "cgroup").mkdir()
    kernel = Kernel(tmp_path / "cgroup")
    kernel.install(monkeypatch)
    return kernel


def groups_at(kernel: Kernel, *, pid: int = 123, repository: Resources = LIMITS) -> Groups:
    settings = Settings(mountpoint=str(kernel.root), count=10, repository=repository)
    logger = make_logger(io.BytesIO())
    hierarchy = Version2(str(kernel.root))
    return Groups(hierarchy, settings, Choice(settings, random.Random(1)), pid, logger)


def test_the_layout_and_the_files_are_those_of_the_reference(kernel: Kernel) -> None:
    groups = groups_at(kernel)
    groups.start()
    group = groups.ensure("repos-7")
    assert group.path == "gitaly/gitaly-123/repos-7"
    top = kernel.root / group.path
    assert (top / "memory.max").read_text() == f"{1 << 30}\n"
    assert (top / "cpu.weight").read_text() == "59\n"
    assert (top / "cpu.max").read_text() == "50000 100000\n"
    for above in ("", "gitaly", "gitaly/gitaly-123"):
        control = kernel.root / above / "cgroup.subtree_control"
        assert control.read_text().split() == ["cpu", "memory"]
    assert sorted(p.name for p in (top.parent).iterdir() if p.is_dir()) == ["repos-0", "repos-7"]
    assert (group.doors, group.kill_counter) == (
        (f"{top}/cgroup.procs",),
        f"{top}/memory.events",
    )


def test_kills_are_counted_in_a_group_without_a_memory_limit_of_its_own(kernel: Kernel) -> None:
    """A limit further up may be the cause, or the machine."""
    groups = groups_at(kernel, repository=Resources(cpu_shares=256))
    groups.start()
    group = groups.ensure("repos-0")
    assert Path(group.kill_counter).exists()
    assert groups.hierarchy.statistics(group.path).oom_kills is not None
    assert (kernel.root / group.path / "memory.max").read_text() == "max\n"
    assert (kernel.root / group.path / "cpu.weight").read_text() == "35\n"


def test_groups_above_that_refuse_are_no_obstacle(kernel: Kernel) -> None:
    """They belong to somebody else, who has the controllers on."""
    (kernel.root / "cgroup.subtree_control").write_text("cpu memory")
    os.mkdir(kernel.root / "gitaly")
    (kernel.root / "gitaly/cgroup.subtree_control").write_text("cpu memory")
    os.chmod(kernel.root / "cgroup.subtree_control", 0o444)
    kernel.put("gitaly")
    groups_at(kernel).start()


def test_a_group_that_cannot_get_its_limits_is_not_left_behind(kernel: Kernel) -> None:
    groups = groups_at(kernel)
    groups.start()
    kernel.refusals["memory.max"] = errno.EBUSY
    with pytest.raises(OSError, match="busy"):
        groups.ensure("repos-3")
    assert not (kernel.root / "gitaly/gitaly-123/repos-3").exists()
    kernel.refusals.clear()
    assert groups.ensure("repos-3").name == "repos-3"


@pytest.mark.parametrize(
    ("controllers", "missing"), [("cpu", "memory"), ("memory pids", "cpu"), ("", "cpu, memory")]
)
def test_missing_controllers_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: str, missing: str
) -> None:
    kernel = Kernel(tmp_path, controllers)
    kernel.install(monkeypatch)
    with pytest.raises(CgroupsUnusable, match=f"lacks the controllers {missing}: delegate them"):
        groups_at(kernel).start()


@pytest.mark.parametrize(
    ("file", "number", "advice"),
    [
        ("mkdir", errno.EACCES, "Delegate=yes"),
        ("mkdir", errno.EROFS, "mounted read-only"),
        ("cgroup.subtree_control", errno.EBUSY, "DelegateSubgroup"),
        ("memory.max", errno.EBUSY, "more memory is in use"),
        ("cpu.weight", errno.ENOENT, "must be mounted and switched on"),
    ],
)
def test_a_failed_start_says_what_to_do(
    kernel: Kernel, file: str, number: int, advice: str
) -> None:
    kernel.refusals[file] = number
    with pytest.raises(CgroupsUnusable) as caught:
        groups_at(kernel).start()
    assert caught.value.message.startswith("failed setting up cgroups: ")
    assert advice in caught.value.message


def test_leftovers_of_the_dead_go_bottom_up_and_nobody_elses(kernel: Kernel) -> None:
    groups_at(kernel, pid=99_999_999).start()  # no process has this number
    groups_at(kernel, pid=1).start()  # somebody lives who has
    os.mkdir(kernel.root / "gitaly/other")
    groups_at(kernel).start()
    assert sorted(p.name for p in (kernel.root / "gitaly").iterdir() if p.is_dir()) == [
        "gitaly-1",
        "gitaly-123",
        "other",
    ]


def test_leftovers_with_processes_stay(kernel: Kernel) -> None:
    groups_at(kernel, pid=99_999_999).start()
    kernel.put("gitaly/gitaly-99999999/repos-0", 1)
    groups_at(kernel).start()
    assert (kernel.root / "gitaly/gitaly-99999999/repos-0").exists()


def test_groups_of_an_earlier_process_with_our_number_are_taken_over(kernel: Kernel) -> None:
    """In a container the node has the same number after each start."""
    groups_at(kernel, repository=Resources(memory_bytes=1)).start()
    kernel.put("gitaly/gitaly-123/repos-0", 1)
    groups_at(kernel).start()
    limit = kernel.root / "gitaly/gitaly-123/repos-0/memory.max"
    assert limit.read_text() == f"{1 << 30}\n"


def test_the_end_removes_all_of_ours(kernel: Kernel) -> None:
    groups = groups_at(kernel)
    groups.start()
    groups.ensure("repos-5")
    groups.stop()
    assert [p.name for p in (kernel.root / "gitaly").iterdir() if p.is_dir()] == []


def test_statistics_are_read(kernel: Kernel) -> None:
    groups = groups_at(kernel)
    groups.start()
    kernel.put("gitaly/gitaly-123/repos-0", 7, 8)
    found = groups.hierarchy.statistics("gitaly/gitaly-123/repos-0")
    assert (found.memory_bytes, found.memory_limit_bytes, found.memory_peak_bytes) == (
        4096,
        1 << 30,
        8192,
    )
    assert (found.anonymous_bytes, found.active_file_bytes, found.inactive_file_bytes) == (
        100,
        30,
        170,
    )
    assert (found.cpu_user, found.cpu_kernel, found.cpu_throttled_seconds) == (5, 4, 1.5)
    assert (found.cpu_periods, found.cpu_throttled_periods) == (7, 2)
    assert found.memory_events == {"high": 1, "max": 2, "oom": 3}
    assert (found.oom_kills, found.limit_hits, found.ooms) == (4, 2, 1)
    assert (found.page_faults, found.major_page_faults) == (11, 3)
    assert found.processes == {"cpu": 2, "memory": 2}
    assert found.memory_pressure["full", "avg60"] == 0.05
    usage = parent_usage(found)
    assert (usage.throttled_seconds, usage.memory_pressure, usage.cpu_pressure) == (1.5, 0.25, 2.5)


def test_what_the_kernel_does_not_say_is_not_known(kernel: Kernel) -> None:
    found = Version2(str(kernel.root)).statistics("nowhere")
    assert (found.memory_bytes, found.oom_kills, found.processes) == (None, None, {})


def test_the_version_is_that_of_the_mount(kernel: Kernel, tmp_path: Path) -> None:
    assert version_at(str(kernel.root)) == 2
    hybrid = tmp_path / "hybrid"
    os.makedirs(hybrid / "memory")
    os.makedirs(hybrid / "unified")
    (hybrid / "unified/cgroup.controllers").write_text("")
    assert version_at(str(hybrid)) == 1
    assert version_at(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 0), (1, 1), (2, 1), (256, 35), (512, 59), (1024, 100), (2048, 174), (262144, 10000)],
)
def test_shares_become_weights_on_the_curve_of_the_reference(shares: int, weight: int) -> None:
    assert weight_of(shares) == weight
