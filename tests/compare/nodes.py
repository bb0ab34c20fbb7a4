"""The reference as a process, and the storages that both work on."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from tests.e2e.clients import commit, run_git
from tests.e2e.conftest import make_work
from tests.e2e.node_process import PATIENCE_SECONDS, free_port

CONFIG: Final = """
listen_addr = "127.0.0.1:{port}"
bin_dir = "{bin_dir}"
runtime_dir = "{directory}/run"
[git]
bin_path = "{git}"
[gitlab]
url = "http://127.0.0.1:1"
secret_file = "{directory}/secret"
[[storage]]
name = "default"
path = "{directory}/storage"
"""


def copied(source: Path, destination: Path) -> None:
    """A storage with the same repositories, down to the packs."""
    shutil.copytree(source, destination, symlinks=True)


def made_storage(path: Path) -> Path:
    """Some repositories: an ordinary one, one of SHA-256, an empty one."""
    path.mkdir(parents=True)
    for name, options in (("sha1", []), ("sha256", ["--object-format=sha256"])):
        work = make_work(path.parent / f"work-{name}", *options)
        (work / "lib").mkdir()
        for number in range(30):
            (work / f"lib/{number}.py").write_text(f"def one():\n    return {number}\n" * number)
            run_git("add", ".", cwd=work)
            commit(work, f"change {number}", f"file-{number % 7}")
        run_git("mv", "lib/12.py", "lib/renamed.py", cwd=work)
        (work / "LICENSE").write_text("MIT License\n")
        (work / "zähler\n.txt").write_bytes(b"\x00\xff\n")
        run_git("add", ".", cwd=work)
        run_git("commit", "--quiet", "--message=odd", "--author=Ö <o@example.com>", cwd=work)
        run_git("branch", "topic", "HEAD~5", cwd=work)
        run_git("clone", "--quiet", "--bare", str(work), str(path / f"{name}.git"))
    run_git("init", "--quiet", "--bare", "--initial-branch=main", str(path / "empty.git"))
    return path


@contextmanager
def reference_node(program: Path, directory: Path) -> Iterator[str]:
    """The address of a running reference. Its storage is there already."""
    (directory / "run").mkdir()
    (directory / "secret").write_text("not used by reads")
    port = free_port()
    config = directory / "config.toml"
    text = CONFIG.format(
        port=port, bin_dir=program.parent, directory=directory, git=shutil.which("git")
    )
    config.write_text(text)
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
    try:
        address = f"127.0.0.1:{port}"
        with grpc.insecure_channel(address) as channel:
            try:
                grpc.channel_ready_future(channel).result(PATIENCE_SECONDS)
            except grpc.FutureTimeoutError:
                said = (directory / "log").read_text()[-2000:]
                raise SystemExit(f"compare: {program} does not answer:\n{said}") from None
        yield address
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
