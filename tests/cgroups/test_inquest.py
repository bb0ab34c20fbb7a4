"""A kill by a memory limit has a name; any other end has not. On the real controllers."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from gitaly.cgroups import NamedGroup, Resources
from gitaly.git import PIPE, Exit, StoppedByLimit
from tests.cgroups.conftest import Opened, Place
from tests.cgroups.support import is_unified

KEY = "default/a.git"
ENV = {"PATH": os.environ["PATH"]}
LIMITED = Resources(memory_bytes=32 << 20)
HOG = [sys.executable, "-I", "-S", "-c", "b = bytearray(200 << 20); b[::4096] = b'x' * 51200"]
HOLD = "b = bytearray({} << 20); b[::4096] = b'x' * (len(b) >> 12); print('held', flush=True)"
HOG_TEXT = " ".join(f"'{word}'" if " " in word else word for word in HOG).replace("b'x'", 'b"x"')


async def run(place: Place, argv: list[str], subcmd: str = "repack") -> Exit:
    async with place.processes.run(argv, ENV, cmd="git", subcmd=subcmd, placement=KEY) as child:
        return await child.wait()


async def test_a_command_that_the_limit_kills_fails_with_its_name(opened: Opened) -> None:
    async with opened(count=1, repository=LIMITED) as place:
        with pytest.raises(StoppedByLimit) as caught:
            await run(place, HOG)
        counted = place.registry.get_sample_value(
            "gitaly_cgroup_commands_stopped_total", {"limit": "repository"}
        )
        group = f"{place.groups.parent_path}/repos-0"
    assert caught.value.message == (
        "git repack was stopped: memory limit of repository cgroup 0 (32 MiB) is reached"
    )
    assert counted == 1
    line = json.loads(place.log.getvalue().splitlines()[-1])
    assert line["msg"] == "command was stopped for want of memory"
    assert line["cgroup.path"] == group
    assert line["cgroup.memory_limit_bytes"] == 32 << 20
    assert 30 << 20 <= line["cgroup.memory_peak_bytes"] <= 32 << 20
    assert line["cgroup.repository"] == KEY


async def test_a_child_of_git_that_the_limit_kills_is_named(opened: Opened) -> None:
    script = (
        f"{HOG_TEXT} >/dev/null 2>&1; echo 'error: pack-objects died of signal 9' >&2; exit 128"
    )
    async with opened(count=1, repository=LIMITED) as place:
        with pytest.raises(StoppedByLimit, match=r"^git pack-objects was stopped: memory limit"):
            await run(place, ["/bin/sh", "-c", script], "upload-pack")


async def test_the_limit_of_all_together_is_told_from_that_of_one(opened: Opened) -> None:
    async with opened(count=1, parent=LIMITED) as place:
        with pytest.raises(StoppedByLimit) as caught:
            await run(place, HOG)
    assert caught.value.message == (
        "git repack was stopped:"
        " memory limit of all repository cgroups together (32 MiB) is reached"
    )


async def test_a_limit_that_was_met_without_a_kill_is_not_blamed_later(
    opened: Opened, tmp_path: Path
) -> None:
    """Page cache fills the group to its limit; then that of all together takes the largest."""
    if not is_unified():
        pytest.skip("version 1 does not count for each limit whom it took")
    small, all_together = Resources(memory_bytes=48 << 20), Resources(memory_bytes=64 << 20)
    named = {KEY: NamedGroup(name="large", resources=small)}
    fill = ["/bin/sh", "-c", f"head -c 100000000 /dev/zero >{tmp_path}/file"]
    hold = [sys.executable, "-I", "-S", "-c", f"{HOLD.format(40)}; input()"]
    async with opened(count=1, parent=all_together, named=named) as place:
        path = f"{place.groups.parent_path}/repos-large"
        for _ in range(10):  # writeback may be as fast as the writer
            await run(place, fill)
            if place.groups.hierarchy.statistics(path).limit_hits:
                break
        else:
            pytest.fail("the limit of the group was never met")
        with pytest.raises(StoppedByLimit, match=r"of all repository cgroups together \(64 MiB\)"):
            async with place.processes.run(
                hold, ENV, cmd="git", subcmd="repack", placement=KEY, stdin=PIPE
            ) as child:
                assert child.stdout is not None
                await child.stdout.read()
                another = [sys.executable, "-I", "-S", "-c", HOLD.format(30)]
                async with place.processes.run(another, ENV, cmd="git", placement="b") as other:
                    await other.wait()
                await child.wait()


async def test_other_ends_have_no_such_name(opened: Opened) -> None:
    async with opened(count=1, repository=LIMITED) as place:
        assert (await run(place, ["/bin/sh", "-c", "exit 128"])).code == 128
        script = "echo 'error: pack-objects died of signal 9' >&2; exit 128"
        assert (await run(place, ["/bin/sh", "-c", script])).code == 128
        async with place.processes.run(
            ["/bin/sleep", "60"], ENV, cmd="git", placement=KEY
        ) as child:
            os.kill(child.pid, signal.SIGKILL)
            assert str(await child.wait()) == "signal: killed"


async def test_a_kill_names_nobody_else_who_ends_meanwhile(opened: Opened) -> None:
    """One is taken by the limit; beside it one is killed by somebody, another fails by itself."""
    fails = ["/bin/sh", "-c", "read x; exit 128"]
    async with (
        opened(count=1, repository=LIMITED) as place,
        place.processes.run(["/bin/sleep", "60"], ENV, cmd="git", placement=KEY) as killed,
        place.processes.run(fails, ENV, cmd="git", placement=KEY, stdin=PIPE) as failed,
    ):
        with pytest.raises(StoppedByLimit):
            await run(place, HOG)
        os.kill(killed.pid, signal.SIGKILL)
        assert failed.stdin is not None
        failed.stdin.close()
        assert str(await killed.wait()) == "signal: killed"
        assert (await failed.wait()).code == 128


async def test_who_is_killed_at_the_same_moment_is_told_apart_by_size(opened: Opened) -> None:
    async with opened(count=1, repository=LIMITED) as place:

        async def killed() -> str:
            argv = ["/bin/sleep", "60"]
            async with place.processes.run(argv, ENV, cmd="git", placement=KEY) as child:
                victims.append(child.pid)
                return str(await child.wait())

        async def hog() -> str:
            try:
                async with place.processes.run(HOG, ENV, cmd="git", placement=KEY) as child:
                    await child.wait()
                    os.kill(victims[0], signal.SIGKILL)
            except StoppedByLimit:
                return "stopped"
            return "not stopped"

        victims: list[int] = []
        async with asyncio.TaskGroup() as calls:
            one = calls.create_task(killed())
            while not victims:  # noqa: ASYNC110 - until it is born
                await asyncio.sleep(0.001)
            two = calls.create_task(hog())
    assert (one.result(), two.result()) == ("signal: killed", "stopped")


async def test_a_command_that_we_stopped_is_not_called_a_victim(opened: Opened) -> None:
    async with opened(count=1, repository=LIMITED) as place:
        ignores = (
            "trap '' TERM; echo ready; kill -STOP $$"  # wants no memory: it would be taken, too
        )
        async with place.processes.run(
            ["/bin/sh", "-c", ignores], ENV, cmd="git", placement=KEY
        ) as child:
            assert child.stdout is not None
            await child.stdout.read()
            with pytest.raises(StoppedByLimit):
                await run(place, HOG)
        assert str(child.exit) == "signal: killed"
