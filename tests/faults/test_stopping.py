"""`gitaly serve` as a process: how it starts, drains and ends."""

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.faults.fetching import SlowFetch
from tests.faults.nodes import MIB, ask_health, make_repository
from tests.faults.processes import Process, process
from tests.transport.wires import received
from tests.transport.yamux_wire import OPEN_1

MAGIC = b"backchannel"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000")


async def test_a_node_without_calls_ends_at_once_and_well(tmp_path: Path) -> None:
    with process(tmp_path) as node:
        await node.until_logged("Started Gitaly")
        assert ask_health(f"unix:{tmp_path}/node.sock")
        node.child.send_signal(signal.SIGTERM)
        assert await node.exit_code() == 0
        expected = ["[shutdown] stopping Gitaly", "starting grace period", "Gitaly shutdown"]
        # What the node does beside, such as a walk over its storages, may say something between.
        assert [text for text in node.messages() if text in expected] == expected
    assert not (tmp_path / "node.sock").exists()
    assert os.listdir(tmp_path / "run") == []


@pytest.mark.parametrize(
    "said", [b"", b"back", MAGIC, MAGIC + OPEN_1, PREFACE], ids=lambda said: repr(said[:12])
)
async def test_idle_clients_do_not_hold_a_node_back(tmp_path: Path, said: bytes) -> None:
    with process(tmp_path) as node:
        await node.until_logged("Started Gitaly")
        with node.connect() as peer:
            peer.sendall(said)
            await asyncio.sleep(0.1)
            node.child.send_signal(signal.SIGTERM)
            while await received(peer, 1):
                pass
        async with asyncio.timeout(25):
            assert await node.exit_code() == 0


# Draining


async def test_a_clone_that_runs_is_finished_and_nobody_else_let_in(tmp_path: Path) -> None:
    commit = make_repository(tmp_path, size=24 * MIB)
    with process(tmp_path) as node:
        await node.until_logged("Started Gitaly")
        port = node.port("tcp")
        async with asyncio.TaskGroup() as tasks:
            fetch = SlowFetch(f"unix:{tmp_path}/node.sock", commit)
            fetching = tasks.create_task(fetch.run())
            await fetch.has_begun.wait()
            node.child.send_signal(signal.SIGTERM)
            await node.until_logged("waiting for running calls")
            with pytest.raises(ConnectionError):
                socket.create_connection(("127.0.0.1", port))
            with pytest.raises(FileNotFoundError):
                node.connect()
            fetch.go_on.set()
            pack = await fetching
        assert await node.exit_code() == 0
        assert node.messages()[-1] == "Gitaly shutdown"
        [waiting] = [x for x in node.lines() if x["msg"] == "waiting for running calls"][:1]
        assert (waiting["calls"], waiting["methods"]) == (1, "1 SSHUploadPackWithSidechannel")
    assert index_pack(tmp_path, pack) == "3 objects"


async def test_a_slow_client_gets_the_tail_of_a_clone_whose_call_is_over(tmp_path: Path) -> None:
    # Small enough for the buffers between git and the client: git and the call end at once.
    commit = make_repository(tmp_path, size=150_000)
    with process(tmp_path) as node:
        await node.until_logged("Started Gitaly")
        async with asyncio.TaskGroup() as tasks:
            fetch = SlowFetch(f"tcp://127.0.0.1:{node.port('tcp')}", commit)
            fetching = tasks.create_task(fetch.run())
            await fetch.has_begun.wait()
            node.child.send_signal(signal.SIGTERM)
            await node.until_logged("starting grace period")
            await asyncio.sleep(0.2)
            fetch.go_on.set()
            pack = await fetching
        assert await node.exit_code() == 0
    assert index_pack(tmp_path, pack) == "3 objects"


async def test_a_second_signal_ends_the_wait(tmp_path: Path) -> None:
    assert await interrupted(tmp_path, "1m", again=True) == (
        1,
        'received signal "terminated": force shutdown',
    )


async def test_the_grace_period_ends_the_wait(tmp_path: Path) -> None:
    assert await interrupted(tmp_path, "500ms", again=False) == (
        1,
        'received signal "terminated": wait: grace period expired',
    )


async def interrupted(directory: Path, grace: str, *, again: bool) -> tuple[int, str]:
    """Stop a node while a clone runs that does not end; exit code and the log's last error."""
    commit = make_repository(directory, size=24 * MIB)
    with process(directory, grace=grace) as node:
        await node.until_logged("Started Gitaly")
        fetch = SlowFetch(f"unix:{directory}/node.sock", commit)
        fetching = asyncio.create_task(fetch.run())
        await fetch.has_begun.wait()
        node.child.send_signal(signal.SIGTERM)
        await node.until_logged("starting grace period")
        if again:
            node.child.send_signal(signal.SIGTERM)
        code = await node.exit_code()
        fetch.go_on.set()
        await asyncio.wait([fetching])
        assert fetching.exception() is not None
        assert os.listdir(directory / "run") == []
        [error] = [x["error"] for x in node.lines() if x["msg"] == "unclean Gitaly shutdown"]
        return code, error


def index_pack(directory: Path, pack: bytes) -> str:
    """What git makes of a pack that ends what a node has said."""

    def git(*arguments: str, data: bytes) -> bytes:
        command = ["git", *arguments]
        run = subprocess.run(command, cwd=directory, input=data, check=True, capture_output=True)
        return run.stdout

    (directory / "out.pack").write_bytes(pack[pack.index(b"PACK") :])
    git("index-pack", "out.pack", data=b"")
    found = git("show-index", data=(directory / "out.idx").read_bytes())
    return f"{len(found.splitlines())} objects"


# Starting


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ('socket_path = "/tmp/' + "x" * 120 + '"', "AF_UNIX path too long"),
        ('listen_addr = "192.0.2.1:1"', "listen on 192.0.2.1:1: Cannot assign requested address"),
        ('socket_path = "{directory}/file"', "/file: exists and is not a socket"),
    ],
)
async def test_a_node_without_its_address_ends_with_the_reason(
    tmp_path: Path, address: str, error: str
) -> None:
    (tmp_path / "file").write_text("precious")
    with process(tmp_path, replaced=address.format(directory=tmp_path)) as node:
        assert await node.exit_code() == 1
        [line] = [x for x in node.lines() if x["msg"] == "unclean Gitaly shutdown"]
        assert error in line["error"]
        assert os.listdir(tmp_path / "run") == []


async def test_a_second_node_does_not_take_the_socket_of_the_first(tmp_path: Path) -> None:
    with process(tmp_path) as first:
        await first.until_logged("Started Gitaly")
        second = Process(tmp_path, log="second")
        try:
            assert await second.exit_code() == 1
        finally:
            second.close()
        assert "another process listens there" in second.lines()[-1]["error"]
        assert ask_health(f"unix:{tmp_path}/node.sock")
