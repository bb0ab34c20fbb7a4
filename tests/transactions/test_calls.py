"""One node's calls in a transaction: whom it asks, and what is left when nobody answers."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.repository_pb2 import (
    CreateRepositoryResponse,
    RemoveRepositoryResponse,
    RepositoryExistsRequest,
    RepositoryExistsResponse,
)
from gitaly.client.calls import CallFailed, unary
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import a_node
from tests.transactions.cluster import CREATE, REMOVE, REPOSITORY, Member, creation, removal
from tests.transactions.praefect import HOLD, Metadata, Praefect, a_praefect, header
from tests.transport.wires import until

EXISTS = "/gitaly.RepositoryService/RepositoryExists"
BEGUN = ["PREPARING", "PREPARED", "COMMITTED"]


@pytest.fixture
async def praefect() -> AsyncIterator[Praefect]:
    async with a_praefect() as praefect:
        yield praefect


@pytest.fixture
async def member(tmp_path: Path, praefect: Praefect) -> AsyncIterator[Member]:
    async with a_node(tmp_path) as served:
        yield Member("node-1", served, praefect.connect(served, "node-1"))


async def create(member: Member, metadata: Metadata) -> tuple[str, str]:
    return await member.link.call(CREATE, creation(), CreateRepositoryResponse, metadata)


async def remove(member: Member, metadata: Metadata) -> tuple[str, str]:
    return await member.link.call(REMOVE, removal(), RemoveRepositoryResponse, metadata)


async def test_without_a_transaction_nobody_is_asked(member: Member, praefect: Praefect) -> None:
    assert await create(member, []) == ("OK", "")
    assert await remove(member, []) == ("OK", "")
    assert praefect.votes == []
    assert member.link.streams == 0


async def test_a_call_that_changes_nothing_does_not_vote(
    member: Member, praefect: Praefect
) -> None:
    for metadata in (header(praefect.begin(["node-1"]), "node-1"), unreadable("*")):
        request = RepositoryExistsRequest(repository=REPOSITORY)
        answer = await member.link.call(EXISTS, request, RepositoryExistsResponse, metadata)
        assert answer == ("OK", "")
    assert praefect.votes == []


def unreadable(value: str) -> Metadata:
    return [("gitaly-reference-transaction", value)]


async def test_unreadable_metadata_changes_nothing(member: Member) -> None:
    answer = await create(member, unreadable("*"))
    assert answer == ("INVALID_ARGUMENT", "gitaly-reference-transaction: not base64")
    assert not member.repository.exists()
    await create(member, [])
    answer = await remove(member, unreadable("e30"))
    assert answer == ("INVALID_ARGUMENT", "gitaly-reference-transaction: not base64")
    assert member.repository.exists()


async def test_of_two_transactions_the_first_counts(member: Member, praefect: Praefect) -> None:
    metadata = header(praefect.begin(["node-1"]), "node-1")
    assert await create(member, [*metadata, *header(4711, "elsewhere")]) == ("OK", "")
    assert {vote.node for vote in praefect.votes} == {"node-1"}


async def test_a_plain_connection_has_no_way_back(member: Member, praefect: Praefect) -> None:
    metadata = header(praefect.begin(["node-1"]), "node-1")
    with (
        grpc.insecure_channel(member.served.address("unix")) as channel,
        pytest.raises(CallFailed) as caught,
    ):
        await unary(channel, CREATE, creation(), CreateRepositoryResponse, metadata)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.message == (
        "creating repository: preparatory vote: get backchannel: no backchannel for peer 0"
    )
    assert not member.repository.exists()
    assert member.leftovers() == []


async def test_each_of_two_praefects_gets_the_votes_of_its_own_calls(
    member: Member, praefect: Praefect
) -> None:
    first = praefect
    async with a_praefect() as second:
        other = Member("node-b", member.served, second.connect(member.served, "node-b"))
        ids = [first.begin(["node-1"]), second.begin(["node-b"])]
        assert ids[0] == ids[1]  # nothing but the connection tells them apart
        for _ in range(3):
            first.votes.clear()
            second.votes.clear()
            assert await create(member, header(ids[0], "node-1")) == ("OK", "")
            assert await remove(other, header(ids[1], "node-b")) == ("OK", "")
            assert [(v.node, v.phase) for v in first.votes] == [("node-1", p) for p in BEGUN]
            assert [(v.node, v.phase) for v in second.votes] == [("node-b", p) for p in BEGUN]


@pytest.mark.parametrize("how", ["vanishes", "cancels"])
@pytest.mark.parametrize(
    ("number", "is_there"), [(1, False), (2, False), (3, True)], ids=["Pg", "Pd", "Co"]
)
async def test_a_creation_that_loses_praefect_is_whole_or_nothing(
    member: Member, praefect: Praefect, how: str, number: int, is_there: bool
) -> None:
    await lose(
        member, praefect, how, number, create(member, header(praefect.begin(["node-1"]), "node-1"))
    )
    assert member.repository.exists() is is_there
    assert member.leftovers() == []


@pytest.mark.parametrize("how", ["vanishes", "cancels"])
@pytest.mark.parametrize(
    ("number", "is_there"), [(1, True), (2, True), (3, False)], ids=["Pg", "Pd", "Co"]
)
async def test_a_removal_that_loses_praefect_is_whole_or_nothing(
    member: Member, praefect: Praefect, how: str, number: int, is_there: bool
) -> None:
    await create(member, [])
    await lose(
        member, praefect, how, number, remove(member, header(praefect.begin(["node-1"]), "node-1"))
    )
    assert member.repository.exists() is is_there
    assert member.leftovers() == []


async def lose(
    member: Member,
    praefect: Praefect,
    how: str,
    number: int,
    call: Coroutine[Any, Any, tuple[str, str]],
) -> None:
    """Run a call whose vote of a number is not answered; then Praefect is gone, or impatient."""
    praefect.script[number] = HOLD
    running = asyncio.create_task(call)
    await praefect.until(number)
    if how == "vanishes":
        member.link.vanish()
    else:
        running.cancel()
    await asyncio.wait([running])
    await until(lambda: praefect.withdrawn == ["node-1"])
    await member.quiet()
    assert len(praefect.votes) == number


async def test_a_deadline_withdraws_the_vote_and_leaves_nothing(
    member: Member,
    praefect: Praefect,
) -> None:
    praefect.script[2] = HOLD
    metadata = header(praefect.begin(["node-1"]), "node-1")
    ask: Any = member.link.channel.unary_unary(  # untyped by its stubs
        CREATE,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=CreateRepositoryResponse.FromString,
    )
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(ask, creation(), metadata=metadata, timeout=1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: praefect.withdrawn == ["node-1"])
    await member.quiet()
    assert not member.repository.exists()
    assert member.leftovers() == []


async def test_a_node_that_stops_withdraws_its_votes(tmp_path: Path) -> None:
    async with a_praefect() as praefect:
        async with a_node(tmp_path) as served:
            member = Member("node-1", served, praefect.connect(served, "node-1"))
            praefect.script[1] = HOLD
            metadata = header(praefect.begin(["node-1"]), "node-1")
            running = asyncio.create_task(create(member, metadata))
            await praefect.until(1)
            assert await served.node.serving.stop(0, asyncio.Event()) is False
            await asyncio.wait([running])
        await until(lambda: praefect.withdrawn == ["node-1"])
        assert member.leftovers() == []
