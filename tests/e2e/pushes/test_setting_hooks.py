"""`gitaly hooks set` against a running node."""

import subprocess
from pathlib import Path

from tests.e2e.node_process import BIN, NodeProcess
from tests.e2e.pushes.pushers import Pusher, said
from tests.hooks.custom.scripts import write_hook
from tests.hooks.gitlab.server import GitLabServer


def set_hooks(
    node: NodeProcess, relative_path: str, archive: bytes, *more: str
) -> "subprocess.CompletedProcess[bytes]":
    config = str(node.directory / "config.toml")
    gitaly = str(BIN / "gitaly")
    command = [gitaly, "hooks", "set", "-c", config, "--repository", relative_path, *more]
    return subprocess.run(command, input=archive, capture_output=True, timeout=60)


def archive_of(directory: Path) -> bytes:
    command = ["tar", "-C", str(directory), "-cf", "-", "custom_hooks"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_hooks_that_were_set_decide_until_they_are_removed(
    gitlab: GitLabServer, pusher: Pusher, tmp_path: Path
) -> None:
    write_hook(tmp_path / "custom_hooks/pre-receive", "echo set; exit 1")
    done = set_hooks(pusher.node, pusher.relative_path, archive_of(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert said(pusher.push("b1:main"))[:2] == ["exit 1", "remote: set"]
    assert set_hooks(pusher.node, pusher.relative_path, b"").returncode == 0
    assert pusher.push("b1:main").code == 0


def test_what_the_node_refuses_is_told(pusher: Pusher) -> None:
    done = set_hooks(pusher.node, pusher.relative_path, b"not an archive")
    assert done.returncode == 1
    assert done.stderr == (
        b"gitaly hooks set: setting custom hooks: extracting hooks: waiting for tar command"
        b" completion: exit status 2\n"
    )
    missing = set_hooks(pusher.node, "nothing.git", b"")
    assert (missing.returncode, missing.stderr) == (
        1,
        b"gitaly hooks set: repository not found\n",
    )


def test_with_several_storages_one_must_be_named(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    config.write_text(
        f'socket_path = "{tmp_path}/s"\n[[storage]]\nname = "one"\npath = "{tmp_path}/one"\n'
        f'[[storage]]\nname = "two"\npath = "{tmp_path}/two"\n'
    )
    done = subprocess.run(
        [BIN / "gitaly", "hooks", "set", "--config", config, "--repository", "a.git"],
        input=b"",
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (
        1,
        b"gitaly hooks set: multiple storages configured: use --storage to target storage"
        b" explicitly\n",
    )
