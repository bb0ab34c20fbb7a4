"""Git in its group, on the real controllers of this machine."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gitaly.cgroups import NamedGroup, Resources
from gitaly.cgroups.spawner import Request
from gitaly.cgroups.spawner_process import Descendant
from gitaly.errors import Internal, ResourceExhausted, Unavailable
from gitaly.git import PIPE, Launch
from tests.cgroups.conftest import Opened, Place
from tests.cgroups.support import controllers, groups_of, own_groups, parent_of
from tests.git.test_process import gone

KEY = "default/a.git"
ENV = {"PATH": os.environ["PATH"]}


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def test_a_child_is_in_its_groups_at_its_first_instruction(place: Place) -> None:
    """cat is the first and only thing that runs."""
    argv = ["/bin/cat", "/proc/self/cgroup"]
    async with place.processes.run(argv, ENV, cmd="cat", placement=KEY) as child:
        assert child.stdout is not None
        said = (await child.stdout.read_all(10000)).decode()
        assert await child.wait()
    group = place.groups.ensure(place.groups.name_for(KEY)).path
    lines = [line.split(":", 2) for line in said.splitlines()]
    assert {name for _, name, path in lines if path == f"/{group}"} == controllers()
    assert child.cgroup_path == group


async def test_what_a_child_starts_is_in_the_group_too(place: Place) -> None:
    script = "sh -c 'cat /proc/self/cgroup' | cat; sh -c 'sleep 0; cat /proc/self/cgroup'"
    async with place.processes.run(shell(script), ENV, cmd="sh", placement=KEY) as child:
        assert child.stdout is not None
        said = (await child.stdout.read_all(10000)).decode()
        await child.wait()
    assert said.count(f"/{child.cgroup_path}\n") == 2 * len(controllers())


async def test_the_node_itself_stays_where_it_is(place: Place) -> None:
    before = groups_of("self")
    async with place.processes.run(shell("exec sleep 0"), ENV, cmd="sh", placement=KEY) as child:
        await child.wait()
    assert groups_of("self") == before


async def test_a_program_without_a_repository_runs_where_the_node_does(place: Place) -> None:
    async with place.processes.run(["/bin/cat", "/proc/self/cgroup"], ENV, cmd="cat") as child:
        assert child.stdout is not None
        said = (await child.stdout.read_all(10000)).decode()
        await child.wait()
    assert said == own_groups()


async def test_exit_output_and_cost_of_a_child_are_known(place: Place) -> None:
    async with place.processes.run(
        shell("cat; echo bad >&2; exit 7"), ENV, cmd="sh", placement=KEY, stdin=PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.feed(b"hello")
        assert await child.stdout.read_all(100) == b"hello"
        ended = await child.wait()
    assert (ended.code, child.error_text) == (7, b"bad\n")


async def test_a_child_leads_its_group_and_has_no_descriptor_of_the_spawner(place: Place) -> None:
    script = "ls /proc/self/fd; ps -o pgid= -p $$; cat /proc/self/status"
    async with place.processes.run(shell(script), ENV, cmd="sh", placement=KEY) as child:
        assert child.stdout is not None
        said = (await child.stdout.read_all(100000)).decode().splitlines()
        await child.wait()
    assert said[:4] == ["0", "1", "2", "3"]  # the fourth is that of the directory
    assert int(said[4]) == child.pid
    status = dict(line.split(":\t") for line in said[5:] if line.startswith("Sig"))
    ordinary = (1 << 31) - 1  # the C library keeps two of the others for itself
    assert (int(status["SigIgn"], 16) & ordinary, int(status["SigBlk"], 16)) == (0, 0)


@pytest.mark.parametrize(
    ("repository", "parent", "above"),
    [(0, 0, 0), (64, 0, 251), (0, 1024, 16), (1024, 64, 251), (8, 0, 500)],
)
async def test_git_is_taken_for_a_limit_before_the_spawner_that_watches_it(
    opened: Opened, repository: int, parent: int, above: int
) -> None:
    own = precedence("self")
    script = "cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj'; exec sleep 60"
    limits = {
        "repository": Resources(memory_bytes=repository << 20),
        "parent": Resources(memory_bytes=parent << 20),
    }
    async with (
        opened(**limits) as place,
        place.processes.run(shell(script), ENV, cmd="sh", placement=KEY) as child,
    ):
        assert child.stdout is not None
        said = b""
        while said.count(b"\n") < 2:
            said += await child.stdout.read()
        assert [int(line) for line in said.split()] == 2 * [min(1000, own + above)]
        assert precedence(parent_of(child.pid)) == own


def precedence(pid: int | str) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def test_arguments_may_be_empty_and_megabytes_long(place: Place) -> None:
    argv = ["/bin/sh", "-c", 'echo $# ${#2} "$3$NOTE"', "sh", "", "x" * 100_000, "é"]
    env = ENV | {"NOTE": "a=b", **{f"V{i}": "y" * 1000 for i in range(100)}}
    async with place.processes.run(argv, env, cmd="sh", placement=KEY) as child:
        assert child.stdout is not None
        assert (await child.stdout.read_all(1000)).decode() == "3 100000 éa=b\n"
        await child.wait()


async def test_a_program_that_does_not_exist_is_an_error_without_its_path(place: Place) -> None:
    with pytest.raises(Internal) as caught:
        async with place.processes.run(["/nonexistent"], ENV, cmd="git", placement=KEY):
            pass
    assert caught.value.message == "starting git: no such file or directory"


async def test_leaving_the_block_early_stops_the_child_and_what_it_started(place: Place) -> None:
    script = shell("sleep 60 & echo $!; wait")
    async with place.processes.run(script, ENV, cmd="sh", placement=KEY) as child:
        assert child.stdout is not None
        grandchild = int(await child.stdout.read())
    assert str(child.exit) == "signal: terminated"
    await gone(grandchild)


async def test_a_call_cancelled_while_its_child_is_born_leaves_nothing(place: Place) -> None:
    async def call() -> None:
        async with place.processes.run(shell("exec sleep 60"), ENV, cmd="sh", placement=KEY):
            await asyncio.sleep(60)

    for steps in range(30):
        task = asyncio.create_task(call())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    # The fixture sees that no process and no group is left.


@pytest.mark.parametrize("is_cancelled_first", [False, True])
async def test_a_child_of_whom_a_cancelled_call_has_not_heard_yet_is_killed(
    place: Place, is_cancelled_first: bool
) -> None:
    group = next(iter(place.groups.made.values()))
    async with place.processes.run(shell("exec sleep 60"), ENV, cmd="sh") as child:
        launch = Launch(argv=[], env={}, stdin=0, stdout=1, stderr=2)
        request = Request(launch, group)
        waiting = asyncio.create_task(request.child(10))
        await asyncio.sleep(0)
        if is_cancelled_first:
            waiting.cancel()
        request.born(Descendant(child.pid, None, group))
        if not is_cancelled_first:
            waiting.cancel()  # before the task has had its turn to see the child
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert str(await child.wait()) == "signal: killed"


async def test_repositories_have_spawners_of_their_own_while_they_work(place: Place) -> None:
    keys = ["default/a.git", next(k for k in map(str, range(99)) if other(place, k))]
    async with (
        place.processes.run(shell("exec sleep 60"), ENV, cmd="sh", placement=keys[0]) as one,
        place.processes.run(shell("exec sleep 60"), ENV, cmd="sh", placement=keys[1]) as two,
        place.processes.run(shell("exec sleep 60"), ENV, cmd="sh", placement=keys[0]) as three,
    ):
        parents = [parent_of(child.pid) for child in (one, two, three)]
    assert parents[0] == parents[2] != parents[1]
    assert set(parents) <= set(place.spawner.pids)


def other(place: Place, key: str) -> bool:
    return place.groups.name_for(key) != place.groups.name_for(KEY)


async def test_a_spawner_that_dies_takes_its_children_and_is_replaced(place: Place) -> None:
    with pytest.raises(Unavailable, match="has died: try again"):
        async with place.processes.run(
            shell("exec sleep 60"), ENV, cmd="sh", placement=KEY
        ) as child:
            os.kill(parent_of(child.pid), signal.SIGKILL)
            assert str(await child.wait()) == "signal: killed"
    async with place.processes.run(shell("exit 0"), ENV, cmd="sh", placement=KEY) as child:
        assert await child.wait()


async def test_an_idle_spawner_that_dies_is_not_noticed(place: Place) -> None:
    async with place.processes.run(shell("exit 0"), ENV, cmd="sh", placement=KEY) as child:
        await child.wait()
    for pid in place.spawner.pids:
        os.kill(pid, signal.SIGKILL)
    async with place.processes.run(shell("exit 0"), ENV, cmd="sh", placement=KEY) as child:
        assert await child.wait()


async def test_a_group_that_was_removed_under_us_is_made_again(place: Place) -> None:
    for _ in range(2):
        async with place.processes.run(shell("exit 0"), ENV, cmd="sh", placement=KEY) as child:
            assert await child.wait()
        for pid in place.spawner.pids:  # they wait inside
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        place.groups.hierarchy.remove(place.groups.parent_path)
    async with place.processes.run(
        ["/bin/cat", "/proc/self/cgroup"], ENV, cmd="cat", placement=KEY
    ) as child:
        assert child.stdout is not None
        said = (await child.stdout.read_all(10000)).decode()
        await child.wait()
    assert said.count(f"/{child.cgroup_path}\n") == len(controllers())


async def test_a_group_that_stands_still_fills_its_own_queue_and_nobody_elses(
    opened: Opened,
) -> None:
    quota = Resources(cpu_quota_us=1000)  # 1 ms in every 100: nothing ends in there
    named = {KEY: NamedGroup(name="slow", resources=quota)}
    async with opened(count=1, named=named, patience_seconds=2) as place:
        burn = shell("while :; do :; done")
        refused: list[str] = []

        async def start() -> None:
            try:
                async with place.processes.run(burn, ENV, cmd="sh", placement=KEY) as child:
                    await child.wait()
            except ResourceExhausted as error:
                refused.append(error.message)

        async with asyncio.TaskGroup() as calls:
            tasks = [calls.create_task(start()) for _ in range(30)]
            while not refused:  # noqa: ASYNC110 - callers tell nobody
                await asyncio.sleep(0.01)
            async with place.processes.run(shell("exit 3"), ENV, cmd="sh", placement="b") as child:
                assert (await child.wait()).code == 3
            for task in tasks:
                task.cancel()
    assert refused[0] == (
        "git cannot be started: too many commands wait for their repository's cgroup"
    )
    assert place.registry.get_sample_value("gitaly_spawn_refused_total") == len(refused)
    assert place.registry.get_sample_value("gitaly_spawn_queued") == 0
