"""Votes that the reference's own hook program asks for, on a connection that is not Praefect's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.hook_pb2 import (
    PreReceiveHookRequest,
    PreReceiveHookResponse,
    ReferenceTransactionHookRequest,
    ReferenceTransactionHookResponse,
)
from gitaly._pb.shared_pb2 import Repository
from gitaly.hooks import EVERY, VARIABLE, Payload, UserDetails
from gitaly.transactions import Transaction
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import Served, a_node
from tests.storage.support import skeleton
from tests.transactions.praefect import Praefect, a_praefect
from tests.transport.wires import until

REPOSITORY = Repository(storage_name="default", relative_path="a.git", gl_repository="project-1")
State = ReferenceTransactionHookRequest.State
NEW = b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/topic\n"
DELETION = b"0" * 40 + b" " + b"0" * 40 + b" refs/heads/topic\n"
ABORTED_TEXT = "The operation could not be completed. Please try again."


@dataclass
class Stage:
    served: Served
    praefect: Praefect
    backchannel_id: int

    def environment(self, *, primary: bool = True) -> list[str]:
        transaction = Transaction(
            id=self.praefect.begin(["node-1"]),
            node="node-1",
            primary=primary,
            backchannel_id=self.backchannel_id,
        )
        payload = Payload(
            requested_hooks=EVERY,
            repository=REPOSITORY,
            transaction=transaction,
            user_details=UserDetails(userid="user-1", protocol="ssh"),
        )
        return [f"{VARIABLE}={payload.encode()}"]

    async def ask(self, method: str, request: Any, response: Any) -> tuple[str, str, list[Any]]:
        def run() -> tuple[str, str, list[Any]]:
            with grpc.insecure_channel(self.served.address("unix")) as channel:
                start: Any = channel.stream_stream(  # untyped by its stubs
                    f"/gitaly.HookService/{method}",
                    request_serializer=lambda message: message.SerializeToString(),
                    response_deserializer=response.FromString,
                )
                call, heard = start(iter([request]), timeout=60), []
                try:
                    heard += list(call)
                except grpc.RpcError:
                    return call.code().name, call.details(), heard
                return "OK", "", heard

        return await asyncio.to_thread(run)

    async def reference_transaction(self, state: State, said: bytes = NEW) -> tuple[str, str]:
        request = ReferenceTransactionHookRequest(
            repository=REPOSITORY,
            environment_variables=self.environment(),
            state=state,
            stdin=said,
        )
        answer = await self.ask(
            "ReferenceTransactionHook", request, ReferenceTransactionHookResponse
        )
        return answer[:2]

    async def pre_receive(self, *, primary: bool) -> list[PreReceiveHookResponse]:
        request = PreReceiveHookRequest(
            repository=REPOSITORY,
            environment_variables=self.environment(primary=primary),
            stdin=NEW,
        )
        code, _, heard = await self.ask("PreReceiveHook", request, PreReceiveHookResponse)
        assert code == "OK"
        return heard

    def votes(self) -> list[tuple[str, str]]:
        return [(vote.phase, vote.digest) for vote in self.praefect.votes]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_node(tmp_path) as served, a_praefect() as praefect, a_praefect() as other:
        skeleton(tmp_path / "storage")
        await other.connect(served, "node-1").ping()
        [stranger] = list(served.connections)
        await praefect.connect(served, "node-1").ping()
        [connection] = [x for x in served.connections if x is not stranger]
        yield Stage(served, praefect, connection.backchannel_id)
        assert other.votes == []


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (ReferenceTransactionHookRequest.PREPARING, "PREPARING"),
        (ReferenceTransactionHookRequest.PREPARED, "PREPARED"),
        (ReferenceTransactionHookRequest.COMMITTED, "COMMITTED"),
    ],
)
async def test_the_praefect_that_the_payload_names_is_asked(
    stage: Stage, state: State, phase: str
) -> None:
    assert await stage.reference_transaction(state) == ("OK", "")
    assert stage.votes() == [(phase, sha1(NEW).hexdigest())]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (ReferenceTransactionHookRequest.ABORTED, NEW),
        (ReferenceTransactionHookRequest.PREPARED, DELETION),
        (ReferenceTransactionHookRequest.PREPARED, b""),
    ],
)
async def test_nobody_is_asked_otherwise(stage: Stage, state: State, said: bytes) -> None:
    assert await stage.reference_transaction(state, said) == ("OK", "")
    assert stage.votes() == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("ABORT", ("ABORTED", ABORTED_TEXT)),
        (
            "STOP",
            (
                "FAILED_PRECONDITION",
                "reference-transaction hook: error voting on transaction: transaction was stopped",
            ),
        ),
    ],
)
async def test_a_vote_without_agreement_has_a_status_of_its_own(
    stage: Stage, answer: str, status: tuple[str, str]
) -> None:
    stage.praefect.script[1] = answer
    prepared = ReferenceTransactionHookRequest.PREPARED
    assert await stage.reference_transaction(prepared) == status


async def test_a_connection_that_is_gone_cannot_be_asked(stage: Stage) -> None:
    stage.praefect.links[0].vanish()
    await until(lambda: stage.served.connections.by_number(stage.backchannel_id) is None)
    prepared = ReferenceTransactionHookRequest.PREPARED
    answer = await stage.reference_transaction(prepared)
    text = f"get backchannel: no backchannel for peer {stage.backchannel_id}"
    assert answer == (
        "INTERNAL",
        f"reference-transaction hook: error voting on transaction: {text}",
    )


async def test_a_secondary_waits_for_the_primary_and_asks_nobody_else(stage: Stage) -> None:
    [response] = await stage.pre_receive(primary=False)
    assert response.exit_status.value == 0
    assert stage.votes() == [("SYNCHRONIZED", "7475a0d87cbbee23b9a7e8ccde58a494db01611f")]


async def test_the_words_of_a_failed_vote_are_for_the_pusher(stage: Stage) -> None:
    stage.praefect.script[1] = "ABORT"
    [response] = await stage.pre_receive(primary=False)
    assert response.exit_status.value == 1
    text = b"synchronizing pre-receive hook: vote failed: transaction was aborted"
    assert response.stderr == text
