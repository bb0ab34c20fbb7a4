"""Clients that call a node at a steady rate, each with the token that it holds at that moment."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from gitaly._pb.server_pb2 import ServerInfoRequest, ServerInfoResponse
from gitaly.client.calls import CallFailed, unary
from gitaly.tasks import background
from gitaly.token import make_token
from tests.transport.wires import until

METHOD = "/gitaly.ServerService/ServerInfo"


@dataclass
class Caller:
    """One client of a node. `header` is asked anew for each call; None: it sends none."""

    header: Callable[[], str | None]
    answers: Counter[str] = field(default_factory=Counter)

    @classmethod
    def holding(cls, secret: bytes) -> "Caller":
        return cls(lambda: make_token(secret, time.time()))

    def takes(self, secret: bytes) -> None:
        """As a client does that is told another token."""
        self.header = lambda: make_token(secret, time.time())

    async def call(self, channel: grpc.Channel) -> str:
        """The name of the status."""
        header = self.header()
        metadata = [] if header is None else [("authorization", header)]
        try:
            await unary(channel, METHOD, ServerInfoRequest(), ServerInfoResponse, metadata)
        except CallFailed as error:
            self.answers[error.code.name] += 1
            return error.code.name
        self.answers["OK"] += 1
        return "OK"


@asynccontextmanager
async def calling(target: str, callers: list[Caller], calls_a_second: int) -> AsyncIterator[None]:
    """Let them call in turn for the length of the block; calls that have begun come to an end."""
    under_way: set[asyncio.Task[str]] = set()

    async def run(channel: grpc.Channel) -> None:
        begun, start = 0, time.monotonic()
        while True:
            if begun < (time.monotonic() - start) * calls_a_second:
                task = asyncio.create_task(callers[begun % len(callers)].call(channel))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                begun += 1
            else:
                await asyncio.sleep(1 / calls_a_second)

    with grpc.insecure_channel(target) as channel:
        async with background(run(channel)):
            yield
        if under_way:
            await asyncio.wait(under_way)


async def after_more_calls(callers: list[Caller], count: int) -> None:
    """Each has had so many more answers."""
    before = [caller.answers.total() for caller in callers]
    for caller, had in zip(callers, before, strict=True):
        await until(lambda caller=caller, had=had: caller.answers.total() >= had + count)  # type: ignore[misc]
