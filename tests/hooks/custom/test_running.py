"""Which custom hooks run, with what, and what becomes of their ends."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gitaly.errors import Internal
from gitaly.hooks import UserDetails
from gitaly.hooks.custom import CustomHookFailed, HookTimedOut, find_hooks, installed_hooks
from gitaly.hooks.push import Push
from gitaly.storage import Repository
from tests.hooks.custom.scripts import write_hook
from tests.hooks.fixtures import Collected, Log, MakeHooks
from tests.transport.wires import until


@pytest.fixture
def custom(repository: Repository) -> Path:
    return Path(repository.path, "custom_hooks")


@pytest.fixture
def push(repository: Repository) -> Push:
    return Push(
        repository=repository,
        user=UserDetails(userid="user-1", username="jane", protocol="ssh"),
        push_options=["a", "b=c d"],
        correlation_id="corr-1",
        environment={
            "GIT_OBJECT_DIRECTORY": "/quarantine",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/objects",
            "HOME": "/of/git",
            "GITALY_HOOKS_PAYLOAD": "secret",
        },
    )


def test_hooks_run_in_the_order_of_the_reference(
    repository: Repository, custom: Path, global_hooks: Path
) -> None:
    for path in (
        global_hooks / "update.d/20-b",
        global_hooks / "update.d/10-a",
        custom / "update.d/50-r",
        custom / "update.d/5",
        custom / "update",
        custom / "pre-receive",
    ):
        write_hook(path, "")
    write_hook(custom / "update.d/60-backup~", "")
    write_hook(custom / "update.d/70-plain", "", mode=0o644)
    (custom / "update.d/80-directory").mkdir(mode=0o755)
    (custom / "update.d/90-dangling").symlink_to("/nonexistent")
    found = find_hooks(repository.path, str(global_hooks), "update")
    assert [hook.name for hook in found] == [
        "update",
        "update.d/5",
        "update.d/50-r",
        "global update.d/10-a",
        "global update.d/20-b",
    ]
    assert installed_hooks(repository.path, str(global_hooks)) == {"pre-receive", "update"}
    assert installed_hooks(repository.path, "") == {"pre-receive", "update"}


def test_without_hooks_none_is_found(repository: Repository) -> None:
    assert find_hooks(repository.path, "/nonexistent", "update") == []
    assert installed_hooks(repository.path, "") == frozenset()


async def test_a_hook_sees_its_repository_the_push_and_nothing_of_the_node(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    write_hook(custom / "pre-receive", 'env; echo "args=$*"; pwd; cat')
    output = Collected()
    await make_hooks().run("pre-receive", push, output, stdin=b"old new ref\n")
    *env, args, cwd, stdin = output.out.decode().splitlines()
    seen = dict(line.split("=", 1) for line in env)
    for name in ("PWD", "_", "SHLVL", "OLDPWD"):  # the shell's own
        seen.pop(name, None)
    assert seen == {
        "HOME": "/of/git",
        "PATH": f"/opt/git/bin:{os.environ['PATH']}",
        "GIT_PUSH_OPTION_COUNT": "2",
        "GIT_PUSH_OPTION_0": "a",
        "GIT_PUSH_OPTION_1": "b=c d",
        "GIT_OBJECT_DIRECTORY": "/quarantine",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/objects",
        "GIT_DIR": push.repository.path,
        "GL_REPOSITORY": "project-1",
        "GL_PROJECT_PATH": "group/project",
        "GL_ID": "user-1",
        "GL_USERNAME": "jane",
        "GL_PROTOCOL": "ssh",
        "CORRELATION_ID": "corr-1",
    }
    assert (args, cwd, stdin) == ("args=", push.repository.path, "old new ref")


async def test_an_update_hook_gets_arguments_and_no_push_options(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    write_hook(custom / "update", 'printf "%s|" "$@" "$GIT_PUSH_OPTION_COUNT"; cat')
    output = Collected()
    arguments: list[str | bytes] = [b"refs/heads/\xff", "0" * 40, "1" * 40]
    await make_hooks().run("update", push, output, args=arguments, stdin=b"")
    assert bytes(output.out) == b"refs/heads/\xff|%s|%s||" % (b"0" * 40, b"1" * 40)


async def test_every_hook_gets_all_of_the_input_and_the_first_failure_is_the_last(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    for number, code in ((1, 0), (2, 3), (3, 0)):
        write_hook(custom / f"pre-receive.d/{number}", f"wc -c; echo {number} >&2; exit {code}")
    output = Collected()
    with pytest.raises(CustomHookFailed) as caught:
        await make_hooks().run("pre-receive", push, output, stdin=b"x" * 1_000_000)
    assert caught.value.exit.number == 3
    assert caught.value.message == (
        f'executing custom hooks: error executing "{custom}/pre-receive.d/2": exit status 3'
    )
    assert output.out.split() == [b"1000000", b"1000000"]
    assert output.err == b"1\n2\n"


async def test_a_hook_need_not_read_its_input(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    write_hook(custom / "pre-receive", "exit 0")
    await make_hooks().run("pre-receive", push, Collected(), stdin=b"x" * 5_000_000)


async def test_who_was_killed_says_so_to_the_pusher(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    write_hook(custom / "pre-receive", "kill -9 $$")
    output = Collected()
    with pytest.raises(CustomHookFailed) as caught:
        await make_hooks().run("pre-receive", push, output, stdin=b"")
    assert caught.value.exit.number == 137
    assert output.err == b"custom hook pre-receive was ended by signal: killed\n"


async def test_a_hook_that_hangs_is_ended_with_all_that_it_has_started(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    write_hook(custom / "pre-receive.d/1", "echo begun; sleep 1000 & sleep 1000")
    output = Collected()
    with pytest.raises(HookTimedOut, match=r"custom hook pre-receive.d/1 did not end within 0.3 s"):
        await make_hooks(0.3).run("pre-receive", push, output, stdin=b"")
    assert output.out == b"begun\n"  # and the fixture finds no process


async def test_what_a_hook_leaves_running_lives_on(
    custom: Path, push: Push, make_hooks: MakeHooks, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    write_hook(custom / "post-receive", f"sleep 1000 <&- >&- 2>&- & echo $! >{pid_file}; echo done")
    output = Collected()
    await make_hooks().run("post-receive", push, output, stdin=b"")
    pid = int(pid_file.read_text())
    assert output.out == b"done\n"
    os.kill(pid, 0)  # it lives
    os.kill(pid, signal.SIGKILL)


async def test_a_file_without_interpreter_line_runs_as_git_would_run_it(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    hook = write_hook(custom / "pre-receive", "")
    hook.write_text("echo plain\n")
    output = Collected()
    await make_hooks().run("pre-receive", push, output, stdin=b"")
    assert output.out == b"plain\n"


async def test_a_missing_interpreter_is_a_failure_that_says_so(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    write_hook(custom / "pre-receive", "").write_text("#!/nonexistent/interpreter\n")
    output = Collected()
    with pytest.raises(CustomHookFailed):
        await make_hooks().run("pre-receive", push, output, stdin=b"")
    assert b"not found" in output.err


async def test_a_directory_that_cannot_be_read_is_a_failure(
    custom: Path, push: Push, make_hooks: MakeHooks
) -> None:
    (custom / "pre-receive.d").mkdir(parents=True)
    loop = custom / "update.d"
    loop.symlink_to(loop)
    hooks = make_hooks()
    await hooks.run("pre-receive", push, Collected(), stdin=b"")
    assert "update" in await hooks.installed(push.repository.path)
    with pytest.raises(Internal, match="creating custom hooks executor: too many levels of sym"):
        await hooks.run("update", push, Collected(), stdin=b"")


async def test_each_run_is_logged_with_its_end_and_the_first_lines_of_its_complaints(
    custom: Path, push: Push, make_hooks: MakeHooks, journal: Log
) -> None:
    hook = write_hook(custom / "update", "seq 100 >&2; exit 4")
    with pytest.raises(CustomHookFailed):
        await make_hooks().run("update", push, Collected(), stdin=b"")
    [line] = journal.lines("custom hook finished")
    del line["time"], line["pid"], line["duration_ms"]
    assert line == {
        "msg": "custom hook finished",
        "level": "warning",
        "hook": "update",
        "hook_path": str(hook),
        "exit_status": "4",
        "stderr": "1\n2\n3\n4\n5",
        "correlation_id": "corr-1",
        "repository": "a.git",
    }


async def test_a_push_that_is_given_up_ends_its_hook(
    custom: Path, push: Push, make_hooks: MakeHooks, journal: Log
) -> None:
    write_hook(custom / "pre-receive", "echo begun; exec sleep 1000")
    output = Collected()
    running = asyncio.create_task(make_hooks().run("pre-receive", push, output, stdin=b""))
    await until(lambda: output.out == b"begun\n")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert journal.lines("custom hook finished")[0]["exit_status"] == "stopped"
