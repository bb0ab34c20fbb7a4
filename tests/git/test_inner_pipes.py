"""The pipe between git upload-pack and the pack-objects that it has started."""

import asyncio
import fcntl
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path

import pytest

from gitaly.git import Git, Processes
from gitaly.git.inner_pipes import enlarge_inner_pipes
from gitaly.git.upload_pack import Fetch, Peer, serve_stateful, serve_stateless
from gitaly.tasks import background
from gitaly.transport.pktline import DELIM, FLUSH, encode
from tests.git.support import Bare, bare

SMALL, LARGE = 64 * 1024, 1024 * 1024
BLOB_BYTES = 8_000_000  # more than all the pipes hold
Serve = Callable[[Git, Fetch, Peer], Coroutine[None, None, None]]


async def over_ssh(git: Git, fetch: Fetch, peer: Peer) -> None:
    await serve_stateful(git, fetch, peer, None)


async def over_http(git: Git, fetch: Fetch, peer: Peer) -> None:
    await serve_stateless(git, fetch, peer)


class Client:
    """Asks for one object, takes so many bytes, and more when it is told to go on."""

    def __init__(self, oid: str, takes: int) -> None:
        arguments = ["no-progress", f"want {oid}\n", "done\n"]
        packets = [encode(argument.encode()) for argument in arguments]
        self._request = b"".join([encode(b"command=fetch"), DELIM, *packets, FLUSH])
        self._takes = takes
        self.received = 0
        self.is_full = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def input(self) -> AsyncIterator[memoryview]:
        yield memoryview(self._request)

    async def room(self, at_least: int = 1) -> int:
        if self.received >= self._takes:
            self.is_full.set()
            await self.goes_on.wait()
        return max(at_least, SMALL)

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        self.received += sum(map(len, buffers))


@pytest.fixture
def repository(tmp_path: Path) -> Bare:
    return bare(tmp_path / "a.git")


def large_blob(repository: Bare) -> str:
    blob = Path(repository.path, "blob")
    blob.write_bytes(os.urandom(BLOB_BYTES))
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    return repository.git("hash-object", "-w", str(blob))


def pipe_bytes(pid: str) -> int:
    fd = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)
    try:
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    finally:
        os.close(fd)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("serve", [over_ssh, over_http])
@pytest.mark.parametrize(
    ("taken", "size"), [(SMALL, SMALL), (2 * LARGE, LARGE)], ids=["little", "much"]
)
async def test_a_fetch_that_turns_out_to_be_large_gets_a_large_pipe_inside_git(
    git: Git, processes: Processes, repository: Bare, serve: Serve, taken: int, size: int
) -> None:
    client = Client(large_blob(repository), taken)
    fetch = Fetch(repository=repository, env={"GIT_PROTOCOL": "version=2"})
    async with background(serve(git, fetch, client)) as serving:
        await asyncio.wait_for(client.is_full.wait(), 30)
        (upload_pack,) = processes.running()
        (pack_objects,) = children_of(upload_pack.pid)
        assert pipe_bytes(pack_objects) == size
        client.goes_on.set()
        await serving
    assert client.received > BLOB_BYTES


def test_what_children_write_into_other_things_than_pipes_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_bytes(b"before")
    script = f"sleep 60 >>{output} & sleep 60 >/dev/null & sleep 60 | read x"
    with subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True) as shell:
        try:
            writer = wait_for_a_child_with_a_pipe(shell.pid)
            enlarge_inner_pipes(shell.pid)
            assert pipe_bytes(writer) == LARGE
            assert output.read_bytes() == b"before"
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_a_process_that_has_ended_has_no_pipes() -> None:
    with subprocess.Popen(["/bin/true"]) as ended:
        enlarge_inner_pipes(ended.pid)
        ended.wait()
        enlarge_inner_pipes(ended.pid)


def wait_for_a_child_with_a_pipe(pid: int) -> str:
    while True:
        for child in children_of(pid):
            if os.readlink(f"/proc/{child}/fd/1").startswith("pipe:"):
                return child
