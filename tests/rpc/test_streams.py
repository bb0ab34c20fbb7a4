"""Messages that a servicer has at hand together arrive as they would one by one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from gitaly._pb.ref_pb2 import ListRefsResponse
from gitaly.errors import InvalidRequest
from gitaly.rpc import Call
from tests.rpc.conftest import Serve

LIST = "/gitaly.RefService/ListRefs"
Turn = Sequence[int] | int | Exception | asyncio.Event


def numbered(number: int, size: int = 10) -> ListRefsResponse:
    name = b"%d %s" % (number, b"x" * size)
    return ListRefsResponse(references=[ListRefsResponse.Reference(name=name)])


class Refs:
    """Sends numbers: alone, or several at once; then waits or fails."""

    SERVICE = "gitaly.RefService"

    def __init__(self, *turns: Turn, size: int = 10) -> None:
        self._turns, self._size = turns, size
        self.sent = 0

    async def ListRefs(self, _: Any, __: Call) -> AsyncIterator[Any]:
        for turn in self._turns:
            if isinstance(turn, Exception):
                raise turn
            if isinstance(turn, asyncio.Event):
                await turn.wait()
            elif isinstance(turn, int):
                yield numbered(turn, self._size)
                self.sent += 1
            else:
                yield [numbered(number, self._size) for number in turn]
                self.sent += len(turn)


def numbers(messages: Sequence[bytes]) -> list[int]:
    return [int(ListRefsResponse.FromString(raw).references[0].name.split()[0]) for raw in messages]


@pytest.mark.parametrize(
    ("count", "turns"),
    [
        (1, [range(1)]),
        (2, [range(2)]),
        (100, [range(100)]),
        (3, [[], range(3), []]),
        (60, [0, range(1, 50), 50, range(51, 60)]),
        (5, [range(2), range(2, 4), 4]),
    ],
)
async def test_they_come_whole_and_in_order(serve: Serve, count: int, turns: list[Turn]) -> None:
    async with serve(Refs(*turns)) as served:
        answer = await served.ask(LIST, b"")
    assert answer.code == "OK"
    assert numbers(answer.messages) == list(range(count))
    [line] = served.lines()
    assert line["grpc.response.payload_bytes"] == sum(map(len, answer.messages))


async def test_they_come_before_an_error(serve: Serve) -> None:
    async with serve(Refs(range(9), InvalidRequest("no more"))) as served:
        answer = await served.ask(LIST, b"")
    assert (answer.code, answer.text) == ("INVALID_ARGUMENT", "no more")
    assert numbers(answer.messages) == list(range(9))


@pytest.mark.parametrize("first", [range(1), range(2), range(7)])
async def test_none_is_held_back_while_the_servicer_waits(serve: Serve, first: range) -> None:
    goes_on = asyncio.Event()
    async with serve(Refs(first, goes_on, [99])) as served:
        loop = asyncio.get_running_loop()

        def ask() -> list[int]:
            with grpc.insecure_channel(served.address) as channel:
                method: Any = channel.unary_stream(LIST)  # bytes in, bytes out
                call = method(b"", timeout=20)
                came = numbers([next(call) for _ in first])
                loop.call_soon_threadsafe(goes_on.set)
                return [*came, *numbers(list(call))]

        assert await asyncio.to_thread(ask) == [*first, 99]


async def test_messages_that_are_encoded_already_are_sent_as_they_are(serve: Serve) -> None:
    class Encoded:
        SERVICE = "gitaly.RefService"

        async def ListRefs(self, _: Any, __: Call) -> AsyncIterator[Any]:
            yield numbered(0).SerializeToString()
            yield [numbered(1).SerializeToString(), numbered(2)]

    async with serve(Encoded()) as served:
        answer = await served.ask(LIST, b"")
    assert numbers(answer.messages) == [0, 1, 2]


async def test_a_slow_client_is_felt(serve: Serve) -> None:
    """No more is produced than windows and buffers hold."""
    refs = Refs(*(range(n, n + 20) for n in range(0, 4000, 20)), size=10_000)
    async with serve(refs) as served:
        stops = asyncio.Event()
        loop = asyncio.get_running_loop()

        def read() -> list[int]:
            with grpc.insecure_channel(served.address) as channel:
                method: Any = channel.unary_stream(LIST)  # bytes in, bytes out
                call = method(b"", timeout=60)
                first = next(call)
                asyncio.run_coroutine_threadsafe(stops.wait(), loop).result()
                return numbers([first, *call])

        reading = asyncio.create_task(asyncio.to_thread(read))
        before = -1
        while before != refs.sent:  # until nothing moves any more
            before = refs.sent
            await asyncio.sleep(0.3)
        assert 0 < refs.sent * 10_000 < 32 << 20  # of 40 million; the client itself takes up to 16
        stops.set()
        assert await reading == list(range(4000))
