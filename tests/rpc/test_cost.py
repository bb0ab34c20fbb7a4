"""What clients are told that a call cost."""

import asyncio
import hmac

from tests.rpc.conftest import Serve
from tests.rpc.slow import (
    EXISTS,
    ONE,
    Repositories,
    asking,
    exists,
    queued,
    table,
)
from tests.transport.wires import until

SIGNED = hmac.digest(b"secret", b"1700000000", "sha256").hex()


async def test_the_trailer_says_what_a_call_cost(serve: Serve) -> None:
    servicer = Repositories()
    for _ in range(2):
        servicer.may_end.release()
    big = exists("a" * (1 << 20))
    async with serve(servicer) as node:
        small = await node.ask(EXISTS, exists())
        large = await node.ask(EXISTS, big)
        unbuilt = await node.ask("/gitaly.ServerService/ServerInfo", b"")
        mutator = await node.ask("/gitaly.RepositoryService/CreateRepository", b"")
    assert small.trailers["x-gitaly-cost"] == "2"
    assert large.trailers["x-gitaly-cost"] == "3"
    assert unbuilt.trailers["x-gitaly-cost"] == "0"
    assert mutator.trailers["x-gitaly-cost"] == "5"


async def test_who_is_refused_is_not_told_a_cost(serve: Serve) -> None:
    servicer = Repositories()
    limits = table(EXISTS, ONE)
    good = [("authorization", f"Bearer v2.{SIGNED}.1700000000")]
    async with serve(servicer, secret=b"secret", limits=limits) as node:
        unknown = await node.ask(EXISTS, exists())
        tasks = [asking(node, EXISTS, exists(), metadata=good) for _ in range(2)]
        await until(lambda: queued(node) == 1)
        refused = await node.ask(EXISTS, exists(), metadata=good)
        servicer.may_end.release()
        servicer.may_end.release()
        answers = await asyncio.gather(*tasks)
    assert (unknown.code, refused.code) == ("UNAUTHENTICATED", "RESOURCE_EXHAUSTED")
    assert "x-gitaly-cost" not in {**unknown.trailers, **refused.trailers}
    assert [answer.trailers["x-gitaly-cost"] for answer in answers] == ["2", "2"]
