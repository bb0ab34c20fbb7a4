import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from gitaly.errors import Internal
from gitaly.git import (
    DEVNULL,
    PIPE,
    STDOUT,
    Account,
    PosixSpawner,
    Processes,
    PrometheusCommandMetrics,
)
from gitaly.git.account import ACCOUNT
from tests.git.support import newcomers, open_descriptors

ENV = {"PATH": os.environ["PATH"]}
IGNORES_SIGTERM = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def gone(pid: int) -> None:
    """Wait until there is no such process, or only a zombie that init has not reaped yet."""
    while is_running(pid):  # noqa: ASYNC110 - nobody tells us of a process that is not our child
        await asyncio.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_output_and_exit_status_of_a_child_are_known(processes: Processes) -> None:
    async with processes.run(shell("echo hello; exit 3"), ENV, cmd="sh") as child:
        assert child.stdout is not None
        assert await child.stdout.read_all(100) == b"hello\n"
        exit_status = await child.wait()
    assert (exit_status.code, str(exit_status), bool(exit_status)) == (3, "exit status 3", False)


async def test_a_pause_ends_with_the_child(processes: Processes) -> None:
    async with processes.run(shell("exit 3"), ENV, cmd="sh") as child:
        await child.pause(3600)
        assert child.exit is not None
        await child.pause(3600)
    assert child.exit.code == 3


async def test_a_child_works_on_after_a_pause_also_one_that_is_cancelled(
    processes: Processes,
) -> None:
    async with processes.run(["/bin/cat"], ENV, cmd="cat", stdin=PIPE) as child:
        await child.pause(0.01)
        pause = asyncio.create_task(child.pause(3600))
        await asyncio.sleep(0)
        pause.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pause
        assert child.exit is None
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.feed(b"still here")
        assert await child.stdout.read_all(100) == b"still here"
        assert (await child.wait()).code == 0


async def test_a_child_leads_its_own_process_group(processes: Processes) -> None:
    async with processes.run(shell("exec sleep 5"), ENV, cmd="sh") as child:
        assert os.getpgid(child.pid) == child.pid


@pytest.mark.parametrize(
    ("subcommand", "more"), [("upload-pack", 5), ("pack-objects", 5), ("cat-file", 0)]
)
async def test_a_command_that_computes_for_long_gives_way_to_the_node(
    processes: Processes, subcommand: str, more: int
) -> None:
    run = processes.run(shell("exec sleep 5"), ENV, cmd="git", subcmd=subcommand)
    async with run as child:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(own + more, 19)


async def test_the_account_knows_the_groups_of_children_that_run(processes: Processes) -> None:
    account = Account()
    ACCOUNT.set(account)
    async with processes.run(shell("exec sleep 5"), ENV, cmd="sh") as child:
        assert account.groups == {child.pid}
    assert account.groups == set()


async def test_a_child_has_no_descriptors_but_the_three(processes: Processes) -> None:
    """The fourth is that of the directory which ls reads."""
    async with processes.run(["/bin/ls", "/proc/self/fd"], ENV, cmd="ls") as child:
        assert child.stdout is not None
        assert await child.stdout.read_all(1000) == b"0\n1\n2\n3\n"
        await child.wait()


async def test_a_child_has_no_environment_but_the_given(processes: Processes) -> None:
    async with processes.run(["/bin/cat", "/proc/self/environ"], {"A": "1"}, cmd="cat") as child:
        assert child.stdout is not None
        assert await child.stdout.read_all(1000) == b"A=1\0"
        await child.wait()


async def test_signals_that_python_ignores_work_in_a_child(processes: Processes) -> None:
    async with processes.run(["/bin/cat", "/proc/self/status"], ENV, cmd="cat") as child:
        assert child.stdout is not None
        status = (await child.stdout.read_all(10000)).decode()
        await child.wait()
    values = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    ignored = int(values["SigIgn"], 16)
    assert values["SigBlk"] == "0000000000000000"
    assert ignored & 1 << (signal.SIGPIPE - 1) == 0
    assert ignored & 1 << (signal.SIGXFSZ - 1) == 0


async def test_a_child_killed_from_outside_is_reported_in_the_words_of_go(
    processes: Processes,
) -> None:
    async with processes.run(shell("exec sleep 60"), ENV, cmd="sh") as child:
        os.kill(child.pid, signal.SIGKILL)
        assert str(await child.wait()) == "signal: killed"


async def test_leaving_the_block_early_stops_the_child(processes: Processes) -> None:
    async with processes.run(shell("exec sleep 60"), ENV, cmd="sh") as child:
        pass
    assert str(child.exit) == "signal: terminated"
    assert newcomers.left() == []


async def test_a_cancelled_call_leaves_no_process_behind(processes: Processes) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), processes.run(shell("sleep 60"), ENV, cmd="sh") as child:
            await child.wait()
    assert newcomers.left() == []


async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(
    processes: Processes,
) -> None:
    async with processes.run(shell(IGNORES_SIGTERM), ENV, cmd="sh") as child:
        assert child.stdout is not None
        assert await child.stdout.read() == b"ready\n"
    assert str(child.exit) == "signal: killed"


async def test_a_call_cancelled_twice_still_leaves_no_process_behind(processes: Processes) -> None:
    ready = asyncio.Event()
    pids = []

    async def call() -> None:
        async with processes.run(shell(IGNORES_SIGTERM), ENV, cmd="sh") as child:
            assert child.stdout is not None
            await child.stdout.read()
            pids.append(child.pid)
            ready.set()
            await child.wait()

    task = asyncio.create_task(call())
    await ready.wait()
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(pids[0])
    await asyncio.sleep(0.01)  # the event loop reaps it
    assert newcomers.left() == []


async def test_what_a_child_has_started_ends_with_it(processes: Processes) -> None:
    async with processes.run(shell("sleep 60 & echo $!"), ENV, cmd="sh") as child:
        assert child.stdout is not None
        grandchild = int(await child.stdout.read_all(100))
        assert await child.wait()
    await gone(grandchild)


async def test_what_a_stopped_child_has_started_ends_with_it(processes: Processes) -> None:
    async with processes.run(shell("sleep 60 & echo $!; wait"), ENV, cmd="sh") as child:
        assert child.stdout is not None
        grandchild = int(await child.stdout.read())
    await gone(grandchild)


async def test_huge_stderr_neither_blocks_the_child_nor_fills_memory(processes: Processes) -> None:
    script = "yes 0123456789 | head -c 10000000 >&2; echo done"
    async with processes.run(shell(script), ENV, cmd="sh") as child:
        assert child.stdout is not None
        assert await child.stdout.read_all(100) == b"done\n"
        assert await child.wait()
    assert len(child.error_text) == 10000
    assert child.error_text.startswith(b"0123456789\n0123456789\n")


async def test_stderr_written_just_before_the_end_is_not_lost(processes: Processes) -> None:
    for _ in range(50):
        async with processes.run(shell("echo last words >&2"), ENV, cmd="sh") as child:
            await child.wait()
        assert child.error_text == b"last words\n"


async def test_stderr_can_go_where_stdout_goes_or_be_read_apart(processes: Processes) -> None:
    script = shell("echo out; echo err >&2")
    async with processes.run(script, ENV, cmd="sh", stderr=STDOUT) as child:
        assert child.stdout is not None
        assert await child.stdout.read_all(100) == b"out\nerr\n"
        await child.wait()
    async with processes.run(script, ENV, cmd="sh", stdout=DEVNULL, stderr=PIPE) as child:
        assert child.stderr is not None
        assert await child.stderr.read_all(100) == b"err\n"
        await child.wait()


async def test_a_descriptor_of_the_caller_stays_the_callers(
    processes: Processes, tmp_path: Path
) -> None:
    with (tmp_path / "file").open("w+b") as file:
        async with processes.run(shell("echo x"), ENV, cmd="sh", stdout=file.fileno()) as child:
            await child.wait()
        file.seek(0)
        assert file.read() == b"x\n"


async def test_a_program_that_does_not_exist_is_an_error_without_its_path(
    processes: Processes,
) -> None:
    with pytest.raises(Internal) as caught:
        async with processes.run(["/nonexistent/git"], ENV, cmd="git"):
            pass
    assert caught.value.message == "starting git: no such file or directory"


async def test_no_descriptors_are_lost_by_many_children(processes: Processes) -> None:
    before = open_descriptors()
    for _ in range(20):
        async with processes.run(shell("cat; exit 1"), ENV, cmd="sh", stdin=PIPE) as child:
            pass
        with pytest.raises(Internal):
            async with processes.run(["/nonexistent"], ENV, cmd="x", stdin=PIPE, stderr=PIPE):
                pass
    assert child.exit is not None
    assert Counter(open_descriptors()) <= Counter(before)


async def test_the_end_of_the_node_ends_all_children() -> None:
    from prometheus_client import CollectorRegistry

    processes = Processes(
        PosixSpawner(), PrometheusCommandMetrics(CollectorRegistry(), "2.39.5"), grace_seconds=0.1
    )

    ready = asyncio.Semaphore(0)

    async def call() -> str:
        async with processes.run(shell(IGNORES_SIGTERM), ENV, cmd="sh") as child:
            assert child.stdout is not None
            await child.stdout.read()
            ready.release()
            return str(await child.wait())

    calls = [asyncio.create_task(call()) for _ in range(3)]
    for _ in calls:
        await ready.acquire()
    await processes.aclose()
    assert [await one for one in calls] == ["signal: killed"] * 3
    assert newcomers.left() == []


async def test_what_a_child_has_cost_is_added_to_the_account_of_the_call(
    processes: Processes,
) -> None:
    account = Account(grpc_service="gitaly.RefService", grpc_method="RefExists")
    token = ACCOUNT.set(account)
    try:
        burn = [sys.executable, "-I", "-S", "-c", "sum(range(20_000_000))"]
        async with processes.run(burn, ENV, cmd="python") as child:
            await child.wait()
    finally:
        ACCOUNT.reset(token)
    assert account.commands == 1
    assert 0.01 < account.user_seconds < 30
    assert account.user_seconds <= account.real_seconds * 1.5
    assert account.maximum_rss_bytes > 1_000_000


async def test_a_child_that_is_hung_up_on_may_clean_up_and_is_not_heard(
    processes: Processes, tmp_path: Path
) -> None:
    script = f"yes | head -c 300000; cat; yes | head -c 300000; echo cleaned > {tmp_path}/said"
    argv = ["/bin/sh", "-c", script]
    async with processes.run(argv, ENV, cmd="sh", stdin=PIPE, stderr=PIPE, hangs_up=True):
        pass
    assert (tmp_path / "said").read_text() == "cleaned\n"


async def test_a_child_that_is_hung_up_on_and_does_not_end_is_stopped(
    processes: Processes,
) -> None:
    argv = ["/bin/sleep", "1000"]
    async with processes.run(argv, ENV, cmd="sleep", stdin=PIPE, hangs_up=True) as child:
        pass
    assert child.exit is not None
    assert str(child.exit) == "signal: terminated"
