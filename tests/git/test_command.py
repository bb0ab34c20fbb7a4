import os
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gitaly.git import PIPE, Git, GitFailed, GitUnusable, GitVersion, InvalidArgument, find_git
from tests.git.support import bare


async def test_git_reads_its_input_and_gives_its_output(git: Git, tmp_path: Path) -> None:
    done = await git.output(
        "hash-object", repository=bare(tmp_path), flags=["-w", "--stdin"], input=b"hello\n"
    )
    assert done.checked() == b"ce013625030ba8dba906f756967f9e9ca394464a\n"


async def test_input_larger_than_a_pipe_meets_output_larger_than_a_pipe(
    git: Git, tmp_path: Path
) -> None:
    repository = bare(tmp_path)
    queries = b"ce013625030ba8dba906f756967f9e9ca394464a\n" * 50000
    done = await git.output(
        "cat-file", repository=repository, flags=["--batch-check"], input=queries
    )
    assert done.checked() == b"ce013625030ba8dba906f756967f9e9ca394464a missing\n" * 50000


async def test_input_that_git_does_not_want_is_no_error(git: Git, tmp_path: Path) -> None:
    done = await git.output("show-ref", repository=bare(tmp_path), input=b"x" * 1_000_000)
    assert str(done.exit) == "exit status 1"


async def test_a_failed_git_speaks_as_gitaly_does(git: Git, tmp_path: Path) -> None:
    done = await git.output("cat-file", repository=bare(tmp_path), flags=["-p"], args=["HEAD"])
    with pytest.raises(GitFailed) as caught:
        done.checked()
    assert caught.value.message == "exit status 128"
    assert caught.value.metadata == {"stderr": "fatal: Not a valid object name HEAD\n"}
    with pytest.raises(GitFailed) as caught:
        done.checked(with_stderr=True)
    assert caught.value.message == (
        r'exit status 128, stderr: "fatal: Not a valid object name HEAD\n"'
    )


async def test_a_repository_without_config_is_gits_to_judge(git: Git, tmp_path: Path) -> None:
    repository = bare(tmp_path)
    (tmp_path / "a.git/config").unlink()
    assert (await git.output("show-ref", repository=repository)).exit.code == 1


async def test_commands_are_counted(git: Git, registry: CollectorRegistry, tmp_path: Path) -> None:
    repository = bare(tmp_path)
    labels = {"grpc_service": "", "grpc_method": "", "cmd": "git", "subcmd": "cat-file"}
    async with git.run("cat-file", repository=repository, flags=["--batch"], stdin=PIPE) as child:
        assert registry.get_sample_value("gitaly_commands_running", labels) == 1
        child.close_pipes()
        await child.wait()
    finished = labels | {"git_version": "2.39.5", "reference_backend": "files"}
    assert registry.get_sample_value("gitaly_commands_running", labels) == 0
    real = registry.get_sample_value("gitaly_command_real_seconds_total", finished)
    user = registry.get_sample_value(
        "gitaly_command_cpu_seconds_total", finished | {"mode": "user"}
    )
    assert real is not None
    assert 0 < real < 10
    assert user is not None
    assert registry.get_sample_value("gitaly_spawn_forking_time_seconds_count") == 1


async def test_refused_commands_are_counted(
    git: Git, registry: CollectorRegistry, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument):
        await git.output("show", repository=bare(tmp_path), args=["--output=x"])
    labels = {"command": "show"}
    assert registry.get_sample_value("gitaly_invalid_commands_total", labels) == 1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("git version 2.39.5\n", (2, 39, 5, "2.39.5")),
        ("git version 2.47.0.gl1\n", (2, 47, 0, "2.47.0.gl1")),
        ("git version 2.55.0.rc1 (Debian 1)", (2, 55, 0, "2.55.0.rc1 (Debian 1)")),
        ("git version 3.0-rc0", (3, 0, 0, "3.0-rc0")),
    ],
)
def test_versions_are_read(output: str, expected: tuple[int, int, int, str]) -> None:
    assert tuple(GitVersion.parse(output)) == expected


def test_git_is_found_on_the_path_of_the_node() -> None:
    assert find_git("", os.environ).version >= (2, 39)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo git version 2.38.4", "git 2.38.4 at {path} is too old: 2.39 or newer is needed"),
        ("echo nonsense", "cannot read a git version from 'nonsense'"),
    ],
)
def test_a_git_that_is_too_old_or_none_is_refused(
    tmp_path: Path, script: str, message: str
) -> None:
    path = tmp_path / "git"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    with pytest.raises(GitUnusable) as caught:
        find_git(str(path), {"PATH": os.environ["PATH"]})
    assert caught.value.message == message.format(path=path)


def test_a_missing_git_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(GitUnusable, match=r"install git or set git\.bin_path"):
        find_git("", {"PATH": str(tmp_path)})
    with pytest.raises(GitUnusable, match="cannot run git at /nonexistent/git"):
        find_git("/nonexistent/git", {"PATH": ""})


async def test_a_colon_in_an_alternate_directory_does_not_make_it_two(
    git: Git, tmp_path: Path
) -> None:
    repository = bare(tmp_path / 'odd:"\\name')
    blob = repository.git("hash-object", "-w", "--stdin", data="x")
    quarantine = os.path.join(repository.path, "objects/q")
    os.mkdir(quarantine)
    quarantined = replace(
        repository,
        git_object_directory="objects/q",
        git_alternate_object_directories=("objects",),
    )
    done = await git.output("cat-file", repository=quarantined, flags=["-e"], args=[blob])
    assert str(done.exit) == "exit status 0"
