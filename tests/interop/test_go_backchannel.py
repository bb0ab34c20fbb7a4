"""The node calls a server in Go at the other end of a connection, as it votes with Praefect."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.repository_pb2 import CreateRepositoryRequest
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.transaction_pb2 import VoteTransactionRequest, VoteTransactionResponse
from gitaly.transport.backchannel import Backchannels, NoBackchannel
from gitaly.transport.mux import MuxSession
from tests.faults.nodes import Served, a_node
from tests.interop.conftest import Peer, Report
from tests.transport.wires import until

VOTE = "/gitaly.RefTransaction/VoteTransaction"
CREATE = "/gitaly.RepositoryService/CreateRepository"
COMMIT, ABORT, STOP = "0800", "0801", "0802"
REQUEST = VoteTransactionRequest(
    transaction_id=7,
    node="gitaly-1",
    reference_updates_hash=bytes(range(20)),
    phase=VoteTransactionRequest.COMMITTED_PHASE,
)


class Praefect:
    """The peer program as a server, and our session with it."""

    def __init__(self, served: Served, child: asyncio.subprocess.Process) -> None:
        self.served = served
        self.child = child
        [connection] = served.connections
        assert connection.session is not None
        self.session: MuxSession = connection.session
        self.backchannels = Backchannels(served.connections)
        self.number = connection.backchannel_id

    async def vote(self) -> VoteTransactionResponse:
        method = self.backchannels.channel(self.number).unary_unary(
            VOTE,
            request_serializer=VoteTransactionRequest.SerializeToString,
            response_deserializer=VoteTransactionResponse.FromString,
        )
        async with asyncio.timeout(20):
            answer: VoteTransactionResponse = await method(REQUEST)
        return answer

    async def line(self) -> str:
        assert self.child.stdout is not None
        return (await self.child.stdout.readline()).decode().strip()


@asynccontextmanager
async def praefect(peer: Peer, directory: Path, kind: str = "tcp") -> AsyncIterator[Praefect]:
    async with a_node(directory) as served:
        child = await peer.start("-address", served.address(kind), "-vote", COMMIT)
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        found = Praefect(served, child)
        try:
            async with found.backchannels:
                yield found
        finally:
            if child.returncode is None:
                child.kill()
            await child.communicate()
        await served.quiet()


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
async def test_a_node_votes_on_the_connection_of_its_client(
    peer: Peer, tmp_path: Path, kind: str
) -> None:
    async with praefect(peer, tmp_path, kind) as found:
        assert await found.vote() == VoteTransactionResponse(state=VoteTransactionResponse.COMMIT)
        assert await found.line() == f"{VOTE} {REQUEST.SerializeToString().hex()}"


async def test_many_votes_use_one_stream(peer: Peer, tmp_path: Path) -> None:
    async with praefect(peer, tmp_path) as found:
        async with asyncio.TaskGroup() as tasks:
            votes = [tasks.create_task(found.vote()) for _ in range(50)]
        assert [vote.result().state for vote in votes] == [VoteTransactionResponse.COMMIT] * 50
        assert found.session.open_stream()._stream.id == 4  # stream 2 carried them all


async def test_a_vote_fails_when_the_client_goes_away(peer: Peer, tmp_path: Path) -> None:
    async with praefect(peer, tmp_path) as found:
        await found.vote()
        found.child.kill()
        await until(lambda: found.session.is_lost)
        with pytest.raises(NoBackchannel, match=f"no backchannel for peer {found.number}"):
            await found.vote()


async def test_a_vote_that_runs_ends_with_the_connection(peer: Peer, tmp_path: Path) -> None:
    async with praefect(peer, tmp_path) as found:
        await found.vote()
        asking: Any = found.backchannels.channel(found.number).unary_unary(
            VOTE
        )  # bytes: untyped by its stubs
        [connection] = found.served.connections
        connection.wire.abort()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with asyncio.timeout(20):
                await asking(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def created_by(
    peer: Peer, directory: Path, kind: str, answer: str
) -> tuple[Report, list[VoteTransactionRequest]]:
    """How a creation with a transaction ends at a Praefect in Go, and what was voted."""
    repository = Repository(storage_name="default", relative_path="new")
    request = CreateRepositoryRequest(repository=repository).SerializeToString().hex()
    transaction = b64encode(b'{"id":7,"node":"gitaly-1","primary":true}').decode()
    async with a_node(directory) as served:
        [report], said = await peer.run(
            *("-address", served.address(kind), "-vote", answer),
            *("-method", CREATE, "-request", request),
            *("-metadata", f"gitaly-reference-transaction={transaction}"),
        )
        await served.quiet()
    *votes, ready = said.decode().splitlines()
    assert ready == "ready"
    words = [vote.split() for vote in votes]
    assert {path for path, _ in words} == {VOTE}
    return report, [VoteTransactionRequest.FromString(bytes.fromhex(x)) for _, x in words]


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
async def test_a_repository_is_created_with_votes(peer: Peer, tmp_path: Path, kind: str) -> None:
    report, votes = await created_by(peer, tmp_path, kind, COMMIT)
    assert (report.code, report.message) == ("OK", "")
    assert [(vote.transaction_id, vote.node) for vote in votes] == [(7, "gitaly-1")] * 3
    assert [VoteTransactionRequest.Phase.Name(vote.phase) for vote in votes] == [
        "PREPARING_PHASE",
        "PREPARED_PHASE",
        "COMMITTED_PHASE",
    ]
    assert {len(vote.reference_updates_hash) for vote in votes} == {20}
    assert not any(vote.HasField("repository") for vote in votes)
    assert (tmp_path / "storage" / "new" / "HEAD").exists()


@pytest.mark.parametrize(("answer", "word"), [(ABORT, "aborted"), (STOP, "stopped")])
async def test_a_repository_is_not_created_against_the_vote(
    peer: Peer, tmp_path: Path, answer: str, word: str
) -> None:
    report, votes = await created_by(peer, tmp_path, "tcp", answer)
    assert report.code == "FailedPrecondition"
    text = f"creating repository: preparatory vote: transaction was {word}"
    assert report.message == text
    assert len(votes) == 1
    assert not (tmp_path / "storage" / "new").exists()
