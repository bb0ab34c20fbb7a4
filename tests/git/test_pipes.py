"""Our ends of the pipes to a child."""

import asyncio
import os
from pathlib import Path

import pytest

from gitaly.git import PIPE, OutputTooLarge, Processes

ENV = {"PATH": os.environ["PATH"]}


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def bytes_written(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split("wchar: ")[1].split()[0])


async def test_writing_waits_for_a_child_that_reads_slowly(processes: Processes) -> None:
    script = "sleep 0.05; wc -c"
    async with processes.run(shell(script), ENV, cmd="sh", stdin=PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        await child.stdin.write(b"x" * 1_000_000)
        child.stdin.close()
        assert await child.stdout.read_all(100) == b"1000000\n"
        await child.wait()


async def test_writing_to_a_child_that_reads_no_more_is_a_broken_pipe(
    processes: Processes,
) -> None:
    async with processes.run(shell("exec <&-; exec sleep 60"), ENV, cmd="sh", stdin=PIPE) as child:
        assert child.stdin is not None
        with pytest.raises(BrokenPipeError):
            await child.stdin.write(b"x" * 1_000_000)


async def test_records_come_as_they_are_written_and_the_last_needs_no_separator(
    processes: Processes,
) -> None:
    script = "printf 'a\\0b'; sleep 0.02; printf 'c\\0\\0d'"
    async with processes.run(shell(script), ENV, cmd="sh") as child:
        assert child.stdout is not None
        records = [record async for record in child.stdout.records(b"\0")]
        await child.wait()
    assert records == [b"a", b"bc", b"", b"d"]


async def test_records_that_nobody_takes_stop_the_child(processes: Processes) -> None:
    async with processes.run(shell("yes"), ENV, cmd="sh") as child:
        assert child.stdout is not None
        async for _ in child.stdout.records():
            break
        await asyncio.sleep(0.05)
        assert bytes_written(child.pid) < 1_000_000


async def test_output_above_the_limit_is_an_error_and_the_child_ends(processes: Processes) -> None:
    with pytest.raises(OutputTooLarge, match="output of more than 100000 bytes"):
        async with processes.run(shell("yes"), ENV, cmd="sh") as child:
            assert child.stdout is not None
            await child.stdout.read_all(100_000)
    with pytest.raises(OutputTooLarge, match="record of more than 100000 bytes"):
        async with processes.run(shell("yes | tr -d '\\n'"), ENV, cmd="sh") as child:
            assert child.stdout is not None
            async for _ in child.stdout.records(limit=100_000):
                pass


async def test_somebody_who_reads_a_pipe_that_is_closed_wakes(processes: Processes) -> None:
    async with processes.run(shell("exec sleep 60"), ENV, cmd="sh") as child:
        assert child.stdout is not None
        reading = asyncio.create_task(child.stdout.read())
        await asyncio.sleep(0)
        child.close_pipes()
        with pytest.raises(ValueError, match="the pipe is closed"):
            await reading
