"""Connections and calls of a whole server: what it does not know, and how it stops."""

import asyncio
from typing import Any

import grpc
import pytest

from tests.rpc.conftest import Serve
from tests.rpc.slow import EXISTS, Repositories, asking, exists
from tests.transport.http2.raw import (
    DATA,
    GOAWAY,
    HEADERS,
    RST,
    data,
    grpc_request,
    message,
    raw_client,
    request,
)
from tests.transport.wires import until

BLOCK = grpc_request(EXISTS)
REFUSED = 7


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/gitaly.NoService/Do", "unknown service gitaly.NoService"),
        ("/gitaly.RefService/Do", "unknown method Do for service gitaly.RefService"),
        ("/nothing", "malformed method name: '/nothing'"),
    ],
)
async def test_what_is_not_known_is_said_in_the_words_of_the_reference(
    serve: Serve, path: str, text: str
) -> None:
    async with serve() as served:
        answer = await served.ask(path, b"")
    assert (answer.code, answer.text) == ("UNIMPLEMENTED", text)


async def test_another_request_is_told_what_this_is(serve: Serve) -> None:
    block = grpc_request("/").replace(b"application/grpc", b"application/json")
    async with serve() as served, raw_client(served.address) as client:
        client.say(request(1, block, is_end=True))
        assert b"415" in (await client.until_kind(HEADERS, 1)).payload
        assert b"Gitaly" in (await client.until_kind(DATA, 1)).payload
        await client.until_end(1)


async def test_a_stop_with_grace_lets_calls_end_and_refuses_new_ones(serve: Serve) -> None:
    repositories = Repositories()
    async with serve(repositories) as served, raw_client(served.address) as client:
        client.say(request(1, BLOCK), data(1, message(exists()), is_end=True))
        await repositories.until_begun(1)
        stopping = asyncio.create_task(served.core.stop(100))
        goodbye = await client.until_kind(GOAWAY)
        assert goodbye.payload[:4].hex() == "00000001"
        client.say(request(3, BLOCK), data(3, message(exists()), is_end=True))
        assert (await client.until_kind(RST, 3)).code == REFUSED
        assert not stopping.done()
        repositories.may_end.release()
        await client.until_end(1)
        await asyncio.wait_for(stopping, 20)
        await client.until_closed()
        assert len(repositories.begun) == 1


@pytest.mark.parametrize("grace_seconds", [None, 0.01])
async def test_a_stop_ends_what_is_not_done_in_time(
    serve: Serve, grace_seconds: float | None
) -> None:
    repositories = Repositories()
    async with serve(repositories) as served:
        call = asking(served, EXISTS, exists())
        await repositories.until_begun(1)
        await served.core.stop(grace_seconds)
        answer = await call
        assert answer.code in ("CANCELLED", "UNAVAILABLE")
        assert served.running == set()


async def test_a_second_stop_without_grace_ends_the_first(serve: Serve) -> None:
    repositories = Repositories()
    async with serve(repositories) as served:
        call = asking(served, EXISTS, exists())
        await repositories.until_begun(1)
        first = asyncio.create_task(served.core.stop(1000))
        await asyncio.sleep(0)
        await served.core.stop(None)
        await asyncio.wait_for(first, 20)
        await call


async def test_who_connects_to_a_server_that_stops_is_refused(serve: Serve) -> None:
    async with serve(Repositories()) as served:
        await served.core.stop(None)
        async with raw_client(served.address) as client:
            client.say(request(1, BLOCK), data(1, message(exists()), is_end=True))
            await client.until_closed()
            [goodbye] = [found for found in client.seen if found.kind == GOAWAY]
            assert goodbye.code == 0


async def test_a_stop_with_nobody_there_takes_no_time(serve: Serve) -> None:
    async with serve() as served:
        await asyncio.wait_for(served.core.stop(1000), 20)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_client_may_compress(serve: Serve, compression: grpc.Compression) -> None:
    repositories = Repositories()
    repositories.may_end.release()
    async with serve(repositories) as served:

        def ask() -> bytes:
            with grpc.insecure_channel(served.address, compression=compression) as channel:
                method: Any = channel.unary_unary(EXISTS)  # bytes in, bytes out
                answer: bytes = method(exists("a" * 5000), timeout=20)
                return answer

        assert await asyncio.to_thread(ask) == b"\x08\x01"


async def test_a_thousand_calls_run_on_one_connection(serve: Serve) -> None:
    repositories = Repositories()
    async with serve(repositories) as served, raw_client(served.address) as client:
        for stream in range(1, 2001, 2):
            client.say(request(stream, BLOCK), data(stream, message(exists()), is_end=True))
        await repositories.until_begun(1000)
        for _ in range(1000):
            repositories.may_end.release()
        ended: set[int] = set()
        while len(ended) < 1000:
            found = await client.hear()
            assert found is not None
            ended |= {found.stream} if found.is_end else set()
        await until(lambda: served.running == set())
