"""A user without rights at the configured place, in a group that was handed to him. For real."""

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cgroups.support import MOUNTPOINT, why_no_v1, why_no_v2
from tests.cgroups.test_unified import mountpoint as unified

NOBODY = 65534
NAME = f"gitaly-test-own-{os.getpid()}"
REPOSITORY = Path(__file__).parents[2]
SECONDS = 60
ENV = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": sysconfig.get_path("purelib"),
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Program:
    """`tests.cgroups.unprivileged`, run by nobody in groups of our choice."""

    def __init__(self, python: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "tests.cgroups.unprivileged", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
            env=ENV,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
        self.pid = self._process.pid

    def tell(self, *groups: Path) -> dict[str, Any]:
        """What it tells once it is in the groups."""
        for group in groups:
            (group / "cgroup.procs").write_text(str(self.pid))
        out, err = self._process.communicate(b"\n", SECONDS)
        assert self._process.returncode == 0, err.decode()
        told: dict[str, Any] = json.loads(out)
        return told


@pytest.fixture
def python() -> str:
    """An interpreter that nobody can run: ours, or the system's of the same version."""
    if os.geteuid() != 0:
        pytest.skip("only the superuser can become somebody else")
    for python in (sys.executable, f"/usr/bin/python{sysconfig.get_python_version()}"):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [python, "-c", "import tests.cgroups.unprivileged"],
                check=True,
                cwd=REPOSITORY,
                env=ENV,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                stderr=subprocess.DEVNULL,
            )
            return python
    pytest.skip("no interpreter that somebody else may run")


def handed_over(group: Path) -> Path:
    """A group that belongs to nobody."""
    group.mkdir()
    os.chown(group, NOBODY, NOBODY)
    for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"):
        with contextlib.suppress(FileNotFoundError):
            os.chown(group / name, NOBODY, NOBODY)
    return group


def remove(group: Path) -> None:
    """Once those who lived there are quite gone. There must be nothing below."""
    until = time.monotonic() + 5
    while True:
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@pytest.fixture
def in_version_1() -> Iterator[list[Path]]:
    if reason := why_no_v1():
        pytest.skip(reason)
    groups = [handed_over(Path(MOUNTPOINT, controller, NAME)) for controller in ("memory", "cpu")]
    yield groups
    for group in groups:
        remove(group)


@pytest.fixture
def in_version_2() -> Iterator[tuple[Path, list[str]]]:
    """A delegated group, and what the program is told of it: nothing where it passes on the
    controllers for memory and CPU, else the name of another one."""
    top = Path(unified() or "/nowhere")
    offered = (top / "cgroup.controllers").read_text().split() if unified() else []
    if not offered:
        pytest.skip("no writable cgroup2 mount with a controller")
    is_complete = {"cpu", "memory"} <= set(offered)
    wanted = ["cpu", "memory"] if is_complete else offered[:1]
    control = top / "cgroup.subtree_control"
    was_on = control.read_text().split()
    for name in wanted:
        control.write_text(f"+{name}")
    group = handed_over(top / NAME)
    yield group, [] if is_complete else wanted
    remove(group)
    for name in set(wanted) - set(was_on):
        control.write_text(f"-{name}")


def test_version_1_has_its_groups_below_the_own_ones(python: str, in_version_1: list[Path]) -> None:
    program = Program(python, MOUNTPOINT, "gitaly")
    told = program.tell(*in_version_1)
    assert told["parent"] == f"gitaly-{program.pid}"
    for controller in ("memory", "cpu"):
        assert told["child"][controller] == f"/{NAME}/gitaly-{program.pid}/repos-0"
        assert told["node"][controller] == f"/{NAME}"


def test_version_2_has_the_node_step_aside_and_come_back(
    python: str, in_version_2: tuple[Path, list[str]]
) -> None:
    group, stand_in = in_version_2
    program = Program(python, unified(), "gitaly", *stand_in)
    told = program.tell(group)
    assert told["parent"] == f"{NAME}/gitaly-{program.pid}"
    assert told["child"][""] == f"/{NAME}/gitaly-{program.pid}/repos-0"
    assert told["node"][""] == f"/{NAME}/node-{program.pid}"
    assert told["limits"] == ([None] if stand_in else [1 << 30])
    assert told["afterwards"][""] == f"/{NAME}"
    assert (group / "cgroup.subtree_control").read_text().split() == []


def test_version_2_names_whoever_is_in_the_way(
    python: str, in_version_2: tuple[Path, list[str]]
) -> None:
    group, stand_in = in_version_2
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (group / "cgroup.procs").write_text(str(stranger.pid))
        told = Program(python, unified(), "gitaly", *stand_in).tell(group)
        stranger.kill()
    assert "Permission denied" in told["error"]
    who = f"{group} holds processes besides the node, {stranger.pid} (sleep), and"
    assert f"; nor can they be made below the node's own cgroup: {who}" in told["error"]


def test_a_group_that_may_be_made_but_not_entered_is_replaced(
    python: str, in_version_2: tuple[Path, list[str]]
) -> None:
    """The user owns the configured place, but not what is above it and the node's own group."""
    group, stand_in = in_version_2
    elsewhere = handed_over(group.with_name(f"{NAME}-elsewhere"))
    try:
        program = Program(python, unified(), elsewhere.name, *stand_in)
        told = program.tell(group)
    finally:
        remove(elsewhere)
    assert told["parent"] == f"{NAME}/gitaly-{program.pid}"
    [line] = [
        line for line in told["log"] if line["msg"] == "cgroups are made below the node's own"
    ]
    assert line["error"].startswith(
        "self-test of cgroups: setup cgroup: permission denied: a process"
    )
    assert line["cgroup.path"] == told["parent"]


@pytest.fixture
def place_of_nobody() -> Iterator[Path]:
    """A directory that nobody can reach, and owns."""
    with tempfile.TemporaryDirectory(prefix="gitaly-test-", dir="/tmp") as name:
        for path in (Path(name), Path(name, "run"), Path(name, "storage")):
            path.mkdir(exist_ok=True)
            os.chown(path, NOBODY, NOBODY)
        yield Path(name)


def test_a_check_in_a_shell_says_how_to_try_the_unit(python: str, place_of_nobody: Path) -> None:
    if reason := why_no_v2():
        pytest.skip(reason)
    if not Path("/run/systemd/system").exists():
        pytest.skip("systemd is not process 1")
    config = place_of_nobody / "config.toml"
    config.write_text(
        f'socket_path = "{place_of_nobody}/s"\nruntime_dir = "{place_of_nobody}/run"\n'
        f'[[storage]]\nname = "default"\npath = "{place_of_nobody}/storage"\n'
        "[cgroups.repositories]\ncount = 1\n"
    )
    program = "import sys; from gitaly.cli.main import main; sys.exit(main())"
    check = [python, "-c", program, "check", str(config)]
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    done = subprocess.run(check, cwd=REPOSITORY, env=ENV, capture_output=True, text=True, **who)
    assert "Checking cgroups: WARNING (not tried: " in done.stdout, done.stderr
    command = f"systemd-run --pipe --wait --uid=nobody -p Delegate=yes gitaly check {config}\n"
    assert command in done.stdout
    assert done.returncode == 0
    options = ["systemd-run", "--quiet", "--pipe", "--wait", "--uid=nobody", "-p", "Delegate=yes"]
    options += [f"--working-directory={REPOSITORY}", *(f"--setenv={k}={v}" for k, v in ENV.items())]
    done = subprocess.run([*options, *check], check=False, capture_output=True, text=True)
    assert "Checking cgroups: OK (v2, 1 groups for repositories in system.slice/" in done.stdout
    assert done.returncode == 0
