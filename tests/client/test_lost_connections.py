"""A node that closes the connection, at the start or in the middle: one line, and an end."""

import asyncio
from pathlib import Path

import pytest

from gitaly._pb.server_pb2 import ServerInfoRequest, ServerInfoResponse
from gitaly.client import CallFailed, dial
from tests.client.programs import (
    BIN,
    ENVIRONMENT,
    REPOSITORY,
    Answer,
    a_cable,
    a_node_that_leaves,
    run_helper,
    run_ssh,
)
from tests.client.test_remote_program import failed
from tests.client.test_ssh_program import logged
from tests.faults.nodes import a_node, make_repository

INFO = "/gitaly.ServerService/ServerInfo"
MAGIC = len(b"backchannel")
services = pytest.mark.parametrize("service", ["upload-pack", "receive-pack", "upload-archive"])


@pytest.mark.parametrize(
    ("after_bytes", "last_words"),
    [(0, b""), (MAGIC, b""), (MAGIC + 12, b""), (MAGIC, b"HTTP/1.1 400 Bad Request\r\n\r\n")],
)
async def test_a_call_that_loses_the_connection_names_the_node(
    after_bytes: int, last_words: bytes
) -> None:
    async with a_node_that_leaves(after_bytes, last_words) as port:
        with pytest.raises(CallFailed) as lost:
            async with dial(f"tcp://127.0.0.1:{port}") as node:
                await node.unary(INFO, ServerInfoRequest(), ServerInfoResponse)
    assert lost.value.go_text == (
        f"rpc error: code = Unavailable desc = tcp 127.0.0.1:{port}: the connection was lost"
    )


@pytest.mark.parametrize("met", [BrokenPipeError, ConnectionResetError])
async def test_a_write_that_meets_the_loss_first_says_the_same(
    tmp_path: Path, met: type[OSError]
) -> None:
    async with a_node(tmp_path):
        with pytest.raises(CallFailed, match="the connection was lost"):
            async with dial(f"unix:{tmp_path}/node.sock"):
                raise met  # as a pump of standard input does


@services
async def test_gitaly_ssh_tells_that_the_node_has_closed_the_connection(service: str) -> None:
    async with a_node_that_leaves(MAGIC) as port:
        address = f"tcp://127.0.0.1:{port}"
        answer = await asyncio.to_thread(
            run_ssh, service, GITALY_ADDRESS=address, GITALY_PAYLOAD=REPOSITORY
        )
    assert logged(answer) == (
        'msg="command returned error" error="rpc error: code = Unavailable desc = '
        f'tcp 127.0.0.1:{port}: the connection was lost"'
    )


@services
async def test_the_helper_tells_that_the_node_has_closed_the_connection(service: str) -> None:
    async with a_node_that_leaves(MAGIC) as port:
        url = f"gitaly://127.0.0.1:{port}/default/a.git"
        answer = await asyncio.to_thread(run_helper, url, f"connect git-{service}")
    assert answer == failed(f"{url}: tcp 127.0.0.1:{port}: the connection was lost")


@pytest.mark.parametrize(
    ("service", "payload"),
    [
        ("upload-pack", REPOSITORY),
        ("receive-pack", REPOSITORY.replace("}}", '}, "glId": "user-1"}')),
    ],
)
async def test_a_connection_that_is_cut_in_the_middle_is_told_in_one_line(
    tmp_path: Path, service: str, payload: str
) -> None:
    address = f"unix:{tmp_path}/s"
    async with a_node(tmp_path), a_cable(tmp_path / "s", to=tmp_path / "node.sock") as cable:
        make_repository(tmp_path, size=1)
        program = await asyncio.create_subprocess_exec(
            *(BIN / "gitaly-ssh", service, "host", "command"),
            env={**ENVIRONMENT, "GITALY_ADDRESS": address, "GITALY_PAYLOAD": payload},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        assert b"refs/heads/main" in await program.stdout.readuntil(b"refs/heads/main")
        cable.cut()
        said = await program.stderr.read()
        await program.wait()
        program.stdin.close()
    assert logged(Answer(program.returncode or 0, b"", said.decode())) == (
        'msg="command returned error" error="rpc error: code = Unavailable desc = '
        f'unix {tmp_path}/s: the connection was lost"'
    )
