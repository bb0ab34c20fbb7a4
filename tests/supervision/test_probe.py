"""How a node asks itself whether it answers."""

import asyncio
import socket
from pathlib import Path

import pytest

from gitaly.supervision.probe import Door, is_serving
from tests.faults.nodes import a_node


@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
async def test_a_node_that_serves_answers_at_every_listener(tmp_path: Path, kind: str) -> None:
    async with a_node(tmp_path) as served:
        listeners = {x.endpoint.kind: x for x in served.node.serving.listeners}
        assert await is_serving(Door.of(listeners[kind].listening, has_tls=kind == "tls"))
        await served.quiet()


async def test_a_listener_for_tls_does_not_answer_without(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        listeners = {x.endpoint.kind: x for x in served.node.serving.listeners}
        assert not await is_serving(Door.of(listeners["tls"].listening))
        assert not await is_serving(Door.of(listeners["tcp"].listening, has_tls=True))


async def test_an_address_for_everybody_is_asked_from_here() -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert Door.of(everywhere).where == ("127.0.0.1", everywhere.getsockname()[1])


async def test_nobody_is_there(tmp_path: Path) -> None:
    assert not await is_serving(Door(where=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes.fromhex("000000040000000000"),  # settings, then the end
        bytes.fromhex("000007000000000001 00 00000002 0802"),  # NOT_SERVING
        bytes.fromhex("000001010500000001 88"),  # headers that end the stream
    ],
    ids=["nothing", "http/1", "settings only", "not serving", "no body"],
)
async def test_somebody_is_there_who_does_not_serve(tmp_path: Path, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    path = str(tmp_path / "s")
    server = await asyncio.start_unix_server(talk, path)
    async with server:
        assert not await is_serving(Door(where=path))
