"""The hook program as git runs it, and the node that it asks."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gitaly.errors import Internal
from gitaly.git import Launch, OwnChild, PipeReader, PipeWriter, posix_spawn
from gitaly.hooks import HookGone, HookRun, Payload, Report, Requested, install
from gitaly.hooks.installation import HooksCannotRun, program_text
from tests.hooks.conftest import PAYLOAD, a_place, opened, started
from tests.storage.mounts import small_disk
from tests.transport.wires import until

FAILED = b"error executing git hook\n"
MIB = 1 << 20


async def test_the_node_learns_how_the_program_was_called(tmp_path: Path) -> None:
    seen: list[object] = []

    async def update(run: HookRun, payload: Payload) -> int:
        seen.extend([run.arguments, run.environment[b"A"], run.correlation_id, payload])
        seen.append(await run.stdin.read_all(1000))
        return 3

    async with a_place(tmp_path, update=update) as place:
        env = {"GITALY_HOOKS_PAYLOAD": PAYLOAD.encode(), "A": "x=y\n", "CORRELATION_ID": "abc"}
        ended = await place.run("update", "refs/heads/\xe9", b"\xff", "", said=b"in", env=env)
    assert (ended.code, ended.stdout, ended.stderr) == (3, b"", b"")
    assert seen == [["refs/heads/\xe9".encode(), b"\xff", b""], b"x=y\n", "abc", PAYLOAD, b"in"]


async def test_much_environment_arrives_whole(tmp_path: Path) -> None:
    seen = []

    async def post_receive(run: HookRun, _: Payload) -> int:
        options = [x for x in run.environment if x.startswith(b"GIT_PUSH_OPTION_")]
        seen.append(sum(len(run.environment[x]) for x in options))
        return 0

    env = {f"GIT_PUSH_OPTION_{number}": "x" * 100_000 for number in range(10)}
    async with a_place(tmp_path, post_receive=post_receive) as place:
        env["GITALY_HOOKS_PAYLOAD"] = PAYLOAD.encode()
        assert (await place.run("post-receive", env=env)).code == 0
    assert seen == [1_000_000]


async def test_the_program_copies_a_file_that_it_cannot_open(tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    (tmp_path / "file").write_bytes(content)
    reports = []

    async def pack_objects(run: HookRun, _: Payload) -> int:
        with opened(tmp_path / "file") as file:
            os.unlink(tmp_path / "file")
            await run.use_file(file)
        reports.append(await run.copy(0, MIB))
        await run.write_stderr(b"half\n")
        reports.append(await run.copy(MIB, 3 * MIB))
        return 0

    async with a_place(tmp_path, pack_objects=pack_objects) as place:
        ended = await place.run("gitaly-hooks", "git", "pack-objects")
    assert (ended.code, ended.stdout == content, ended.stderr) == (0, True, b"half\n")
    assert reports == [Report(MIB), Report(2 * MIB)]


async def test_one_file_after_another(tmp_path: Path) -> None:
    async def pack_objects(run: HookRun, _: Payload) -> int:
        for name in ("a", "b", "c"):
            (tmp_path / name).write_text(name * 5)
            with opened(tmp_path / name) as file:
                await run.use_file(file)
                await run.copy(2, 4)
        return 0

    async with a_place(tmp_path, pack_objects=pack_objects) as place:
        ended = await place.run("gitaly-hooks", "git")
    assert ended.stdout == b"aabbcc"


async def test_bytes_of_the_node_go_to_stdout_and_stderr(tmp_path: Path) -> None:
    content = os.urandom(3 * MIB + 1)
    reports = []

    async def update(run: HookRun, _: Payload) -> int:
        await run.write_stderr(content)
        reports.append(await run.write_stdout(content))
        return 0

    async with a_place(tmp_path, update=update) as place:
        ended = await place.run("update", "a", "b", "c")
    assert (ended.stdout == content, ended.stderr == content) == (True, True)
    assert reports == [Report(len(content))]


async def test_the_node_moves_a_pipe_to_the_program_s_stdout(tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    moved = []

    async def pack_objects(run: HookRun, _: Payload) -> int:
        run.enlarge()
        reading, writing = os.pipe()
        source, target = PipeReader(reading), PipeWriter(writing)
        target.feed(content)
        while size := await run.take(source):
            moved.append(size)
        source.close()
        return 0

    async with a_place(tmp_path, pack_objects=pack_objects) as place:
        ended = await place.run("gitaly-hooks", "git")
    assert (ended.code, ended.stdout == content, sum(moved)) == (0, True, 3 * MIB)


async def test_a_pipe_for_a_git_that_reads_no_more_is_not_moved(tmp_path: Path) -> None:
    noticed = asyncio.Event()

    async def update(run: HookRun, _: Payload) -> int:
        reading, writing = os.pipe()
        source, target = PipeReader(reading), PipeWriter(writing)
        target.write_now(b"x")
        with pytest.raises(HookGone):
            await run.take(source)
        source.close()
        target.close()
        noticed.set()
        return 0

    async with a_place(tmp_path, update=update) as place:
        child = started(place, "update")
        assert child.stdout is not None
        child.stdout.close()
        await noticed.wait()
        await until(lambda: child.poll() is not None)


async def test_a_file_that_is_too_short_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    reports = []

    async def pack_objects(run: HookRun, _: Payload) -> int:
        with opened(tmp_path / "file") as file:
            await run.use_file(file)
        reports.append(await run.copy(2, 100))
        return 1

    async with a_place(tmp_path, pack_objects=pack_objects) as place:
        ended = await place.run("gitaly-hooks", "git")
    assert (reports, ended.stdout) == ([Report(3)], b"345")


async def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    reports = []

    async def pack_objects(run: HookRun, _: Payload) -> int:
        with opened(tmp_path / "file", os.O_WRONLY) as file:
            await run.use_file(file)
        reports.append(await run.copy(0, 5))
        return 1

    async with a_place(tmp_path, pack_objects=pack_objects) as place:
        await place.run("gitaly-hooks", "git")
    assert reports == [Report(0, errno.EBADF)]


async def test_a_git_that_reads_no_more_is_reported(tmp_path: Path) -> None:
    reports = []

    async def update(run: HookRun, _: Payload) -> int:
        run.close_outputs()
        reports.append(await run.write_stdout(b"x" * MIB))
        return 0

    async with a_place(tmp_path, update=update) as place:
        child = started(place, "update")
        assert child.stdout is not None
        child.stdout.close()
        await until(lambda: child.poll() is not None)
    assert [report.error for report in reports] == [errno.EPIPE]


async def test_a_hook_that_nobody_asked_for_ends_at_once(tmp_path: Path) -> None:
    async def update(run: HookRun, _: Payload) -> int:
        return 1

    async with a_place(tmp_path, update=update) as place:
        place.payload = replace(PAYLOAD, requested_hooks=Requested.PRE_RECEIVE)
        ended = await place.run("update", "a", "b", "c")
    assert (ended.code, ended.stderr) == (0, b"")


async def test_a_failing_handler_says_no_more_than_that(tmp_path: Path) -> None:
    async def update(run: HookRun, _: Payload) -> int:
        raise Internal("for the log only")

    async def pre_receive(run: HookRun, _: Payload) -> int:
        raise RuntimeError("a bug")

    async with a_place(tmp_path, update=update, pre_receive=pre_receive) as place:
        for hook in ("update", "pre-receive"):
            ended = await place.run(hook)
            assert (ended.code, ended.stdout, ended.stderr) == (1, b"", FAILED)
        assert [line["error"] for line in place.lines()] == ["for the log only", "a bug"]


@pytest.mark.parametrize(
    ("hook", "arguments", "env"),
    [
        ("gitaly-hooks", [], None),
        ("gitaly-hooks", ["check", "config.toml"], None),
        ("update", ["a", "b", "c"], None),  # no handler
        ("pre-receive", [], {}),  # no payload
        ("pre-receive", [], {"GITALY_HOOKS_PAYLOAD": "nonsense"}),
        ("pre-receive", [], {"GITALY_HOOKS_PAYLOAD": PAYLOAD.encode()[:-8]}),
        (
            "pre-receive",
            [],
            {"GITALY_HOOKS_PAYLOAD": replace(PAYLOAD, internal_socket_token="x").encode()},
        ),
    ],
)
async def test_a_wrong_call_fails(
    tmp_path: Path, hook: str, arguments: list[str], env: dict[str, str] | None
) -> None:
    async def pre_receive(run: HookRun, _: Payload) -> int:
        return 0

    async with a_place(tmp_path, pre_receive=pre_receive) as place:
        ended = await place.run(hook, *arguments, env=env)
        assert (ended.code, ended.stdout, ended.stderr) == (1, b"", FAILED)
        assert [line["msg"] for line in place.lines()] == ["hook failed"]


async def test_without_a_node_the_program_fails(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        pass
    ended = await place.run("update", "a", "b", "c")
    assert (ended.code, ended.stdout, ended.stderr) == (1, b"", FAILED)


async def test_a_node_that_goes_away_fails_its_programs(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def update(run: HookRun, _: Payload) -> int:
        began.set()
        await asyncio.Event().wait()
        return 0

    async with a_place(tmp_path, update=update) as place:
        child = await place.start("update")
        await began.wait()
    out, err = await child.communicate()
    assert (child.returncode, out, err) == (1, b"", FAILED)


async def test_a_program_that_is_killed_is_noticed(tmp_path: Path) -> None:
    began, noticed = asyncio.Event(), asyncio.Event()

    async def update(run: HookRun, _: Payload) -> int:
        began.set()
        await run.gone.wait()
        with pytest.raises(HookGone):
            await run.copy(0, 1)
        with pytest.raises(HookGone):
            await run.write_stderr(b"x")
        noticed.set()
        return 0

    async with a_place(tmp_path, update=update) as place:
        child = await place.start("update")
        await began.wait()
        child.send_signal(signal.SIGKILL)
        await noticed.wait()
        await child.communicate()


async def test_a_program_that_is_killed_while_it_copies_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(MIB))
    began, noticed = asyncio.Event(), asyncio.Event()

    async def update(run: HookRun, _: Payload) -> int:
        with opened(tmp_path / "file") as file:
            await run.use_file(file)
        began.set()
        with pytest.raises(HookGone):
            await run.copy(0, MIB)  # more than the pipe takes, and nobody reads
        noticed.set()
        return 0

    async with a_place(tmp_path, update=update) as place:
        child = started(place, "update")
        await began.wait()
        child.kill()
        await noticed.wait()
        child.communicate()


async def test_git_sees_the_end_of_a_hook_although_what_was_born_meanwhile_lives_on(
    tmp_path: Path,
) -> None:
    born: list[OwnChild] = []
    gone = asyncio.Event()

    async def update(run: HookRun, _: Payload) -> int:
        # As the node starts git, and what outlives a call: cat-file, or a spawner process.
        with opened(Path(os.devnull), os.O_RDWR) as nowhere:
            sleeping = Launch(
                argv=["/bin/sleep", "60"], env={}, stdin=nowhere, stdout=nowhere, stderr=nowhere
            )
            child = OwnChild(posix_spawn(sleeping))
        child.watch(lambda _: gone.set())
        born.append(child)
        return 0

    async with a_place(tmp_path, update=update) as place:
        try:
            async with asyncio.timeout(10):
                ended = await place.run("update", "a", "b", "c")
            assert not gone.is_set()
        finally:
            for child in born:
                child.signal_group(signal.SIGKILL)
                await gone.wait()
    assert (ended.code, ended.stdout, ended.stderr) == (0, b"", b"")


async def test_strangers_are_turned_away(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        for said in (b"PRI * HTTP/2.0\r\n", b"gitaly-hook\x01\0\0\0\x03\x31\0a"):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(place.reception.path)
                stranger.send(said)
                answer = await asyncio.to_thread(stranger.recv, 100)
            assert answer[:1] in (b"", b"\x04")
        await until(lambda: len(place.lines()) == 2)


async def test_surplus_descriptors_are_closed(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(place.reception.path)
            for _ in range(3):
                socket.send_fds(stranger, [b"gitaly"], [0, 1, 2])
            with suppress(ConnectionResetError):
                assert await asyncio.to_thread(stranger.recv, 100) == b""


def test_the_program_is_for_its_owner_only(tmp_path: Path) -> None:
    installation = install(str(tmp_path), "/nowhere")
    assert os.stat(installation.program).st_mode & 0o777 == 0o700
    assert sorted(os.listdir(installation.hooks_directory)) == [
        "post-receive",
        "pre-receive",
        "proc-receive",
        "reference-transaction",
        "update",
    ]


@pytest.mark.parametrize("odd", ["with space", "quote'quote", "x" * 140])
def test_an_interpreter_in_an_odd_place_is_found(tmp_path: Path, odd: str) -> None:
    (tmp_path / odd).mkdir()
    interpreter = tmp_path / odd / "python3"
    interpreter.symlink_to(os.path.realpath(sys.executable))
    program = tmp_path / "gitaly-hooks"
    program.write_bytes(program_text(str(interpreter), "/nowhere"))
    program.chmod(0o700)
    done = subprocess.run([program, "git"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", FAILED)


def test_git_finds_the_program_in_an_odd_place(tmp_path: Path) -> None:
    directory = tmp_path / "it's 100% (odd)"
    directory.mkdir()
    command = install(str(directory), "/nowhere").command
    done = subprocess.run(["sh", "-c", command], capture_output=True)
    assert (done.returncode, done.stderr) == (1, FAILED)


def test_the_program_imports_next_to_nothing(tmp_path: Path) -> None:
    installation = install(str(tmp_path), "/nowhere")
    text = Path(installation.program).read_text()
    text = text.replace("found['main']", "print(*sys.modules, flush=True); found['main']")
    Path(installation.program).write_text(text)
    said = subprocess.run([installation.program], capture_output=True, text=True).stdout.split()
    assert {"os", "socket", "json", "struct", "re", "site"}.isdisjoint(said)
    assert {"_socket", "posix", "marshal"} <= set(said)


def test_hooks_that_git_would_leave_out_are_not_installed(tmp_path: Path) -> None:
    """Git runs no hook that it may not execute, says nothing, and lets the push pass."""
    noexec = small_disk(tmp_path / "run", "size=1m,noexec")
    with noexec as run, pytest.raises(HooksCannotRun, match="is mounted noexec"):
        install(str(run), str(run / "hooks"))
