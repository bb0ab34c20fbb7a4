"""Votes on a real backchannel: what is asked, what the answers mean, and how it fails."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest

from gitaly import errors
from gitaly.git.account import ACCOUNT, Account
from gitaly.storage import Phase, VoteFailed
from gitaly.transactions import Transaction, TransactionAborted, TransactionStopped
from tests.transactions.conftest import Polling, a_polling
from tests.transactions.praefect import HOLD, Cast
from tests.transport.wires import no_descriptors, until

DIGEST = bytes(range(20))


@pytest.mark.parametrize(
    ("phase", "name"),
    [
        (Phase.PREPARING, "PREPARING"),
        (Phase.PREPARED, "PREPARED"),
        (Phase.COMMITTED, "COMMITTED"),
        (Phase.SYNCHRONIZED, "SYNCHRONIZED"),
    ],
)
async def test_a_vote_says_who_votes_on_what(polling: Polling, phase: Phase, name: str) -> None:
    transaction = polling.transaction()
    await polling.manager().vote(transaction, phase, DIGEST)
    assert polling.praefect.votes == [Cast("node-1", name, DIGEST.hex(), transaction.id)]
    assert polling.counted(phase.value, "committed") == 1
    assert polling.lines() == []


async def test_a_vote_tells_the_correlation_id_of_its_call(polling: Polling) -> None:
    ACCOUNT.set(Account(correlation_id="abc"))
    await polling.manager().vote(polling.transaction(), Phase.PREPARED, DIGEST)
    [vote] = polling.praefect.votes
    assert ("x-gitlab-correlation-id", "abc") in vote.metadata


async def test_the_time_of_every_vote_is_measured(polling: Polling) -> None:
    manager, transaction = polling.manager(), polling.transaction()
    await manager.vote(transaction, Phase.PREPARED, DIGEST)
    polling.praefect.script[2] = "ABORT"
    with pytest.raises(TransactionAborted):
        await manager.vote(transaction, Phase.COMMITTED, DIGEST)
    name = "gitaly_hook_transaction_voting_delay_seconds_count"
    assert polling.registry.get_sample_value(name) == 2


@pytest.mark.parametrize(
    ("state", "error", "text", "outcome"),
    [
        ("ABORT", TransactionAborted, "transaction was aborted", "aborted"),
        ("STOP", TransactionStopped, "transaction was stopped", "stopped"),
    ],
)
async def test_a_vote_without_agreement_is_an_error_and_logged(
    polling: Polling, state: str, error: type[VoteFailed], text: str, outcome: str
) -> None:
    polling.praefect.script[1] = state
    transaction = polling.transaction()
    with pytest.raises(error, match=text):
        await polling.manager().vote(transaction, Phase.PREPARED, DIGEST)
    [line] = polling.lines()
    assert line["level"] == "error"
    assert line["msg"] == text
    assert line["component"] == "transaction.PoolManager"
    assert line["transaction.id"] == transaction.id
    assert line["transaction.voter"] == "node-1"
    assert line["transaction.hash"] == DIGEST.hex()
    assert polling.counted("prepared", outcome) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidRequest),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
        (grpc.StatusCode.CANCELLED, errors.Cancelled),
        (grpc.StatusCode.INTERNAL, errors.Internal),
        (grpc.StatusCode.UNKNOWN, VoteFailed),
        (grpc.StatusCode.OUT_OF_RANGE, VoteFailed),
    ],
)
async def test_a_status_of_praefect_keeps_its_code_and_its_words(
    polling: Polling, code: grpc.StatusCode, kind: type[errors.NodeError]
) -> None:
    polling.praefect.status = code, "praefect's words"
    with pytest.raises(kind) as caught:
        await polling.manager().vote(polling.transaction(), Phase.PREPARED, DIGEST)
    assert caught.value.message == "praefect's words"
    [line] = polling.lines()
    assert (line["msg"], line["error"]) == ("vote failed", "praefect's words")
    assert polling.counted("prepared", "failed") == 1


async def test_a_transaction_that_is_over_is_not_found_however_often_it_is_tried(
    polling: Polling,
) -> None:
    manager, transaction = polling.manager(), polling.transaction()
    polling.praefect.forget(transaction.id)
    for _ in range(100):
        with pytest.raises(errors.NotFound, match=f"transaction not found: {transaction.id}"):
            await manager.vote(transaction, Phase.PREPARED, DIGEST)
    assert polling.link.streams == 1


async def test_a_peer_that_serves_no_votes_says_so_however_often_it_is_asked(
    tmp_path: Path,
) -> None:
    async with a_polling(tmp_path, serves_votes=False) as polling:
        manager, transaction = polling.manager(), polling.transaction()
        for _ in range(100):
            with pytest.raises(errors.Unimplemented):
                await manager.vote(transaction, Phase.PREPARED, DIGEST)


async def test_a_vote_that_takes_too_long_is_withdrawn(polling: Polling) -> None:
    polling.praefect.script[1] = HOLD
    with pytest.raises(errors.DeadlineExceeded) as caught:
        manager = polling.manager(vote_seconds=0.2)
        await manager.vote(polling.transaction(), Phase.PREPARED, DIGEST)
    assert caught.value.message == "transaction timeout 0.2s exceeded"
    await until(lambda: polling.praefect.withdrawn == ["node-1"])


async def test_who_cancels_a_vote_withdraws_it(polling: Polling) -> None:
    polling.praefect.script[1] = HOLD
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await polling.manager().vote(polling.transaction(), Phase.PREPARED, DIGEST)
    await until(lambda: polling.praefect.withdrawn == ["node-1"])
    assert polling.counted("prepared", "canceled") == 1


async def test_praefect_that_vanishes_ends_the_votes_that_wait(polling: Polling) -> None:
    transaction = polling.transaction()
    polling.praefect.script = {1: HOLD, 2: HOLD}
    manager = polling.manager()

    async def vote() -> str:
        with pytest.raises(errors.Unavailable) as caught:
            await manager.vote(transaction, Phase.PREPARED, DIGEST)
        return caught.value.message

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        votes = [tasks.create_task(vote()) for _ in range(2)]
        await polling.praefect.until(2)
        polling.link.vanish()
    assert [vote.result() for vote in votes] == ["connection to praefect lost"] * 2
    await polling.served.quiet()
    assert len(polling.backchannels) == 0


async def test_after_praefect_has_gone_there_is_no_way_to_vote(polling: Polling) -> None:
    manager, transaction = polling.manager(), polling.transaction()
    await manager.vote(transaction, Phase.PREPARED, DIGEST)
    polling.link.vanish()
    await polling.served.quiet()
    with pytest.raises(VoteFailed) as caught:
        await manager.vote(transaction, Phase.COMMITTED, DIGEST)
    number = transaction.backchannel_id
    assert caught.value.message == f"get backchannel: no backchannel for peer {number}"
    with pytest.raises(VoteFailed, match="no backchannel"):
        await manager.stop(transaction)
    assert [line["msg"] for line in polling.lines()] == [
        "vote failed",
        "stopping transaction failed",
    ]


async def test_a_new_connection_does_not_answer_for_an_old_one(polling: Polling) -> None:
    manager, transaction = polling.manager(), polling.transaction()
    polling.link.vanish()
    await polling.served.quiet()
    await polling.praefect.connect(polling.served, "node-1").ping()
    with pytest.raises(VoteFailed, match="no backchannel for peer"):
        await manager.vote(transaction, Phase.PREPARED, DIGEST)
    await manager.vote(polling.transaction(), Phase.PREPARED, DIGEST)


@pytest.mark.parametrize("number", [0, 4711])
async def test_nobody_is_asked_where_no_connection_has_the_number(
    polling: Polling, number: int
) -> None:
    transaction = Transaction(id=7, node="node-1", backchannel_id=number)
    with pytest.raises(VoteFailed, match=f"get backchannel: no backchannel for peer {number}"):
        await polling.manager().vote(transaction, Phase.PREPARED, DIGEST)
    assert polling.praefect.votes == []


async def test_stopping_is_told_to_praefect(polling: Polling) -> None:
    manager, transaction = polling.manager(), polling.transaction()
    await manager.stop(transaction)
    await manager.stop(transaction)
    assert polling.praefect.stops == [transaction.id] * 2
    with pytest.raises(TransactionStopped):
        await manager.vote(transaction, Phase.PREPARED, DIGEST)


async def test_stopping_that_fails_is_an_error_and_logged(polling: Polling) -> None:
    polling.praefect.status = grpc.StatusCode.INTERNAL, "no database"
    transaction = polling.transaction()
    with pytest.raises(errors.Internal, match="no database"):
        await polling.manager().stop(transaction)
    [line] = polling.lines()
    assert (line["msg"], line["error"]) == ("stopping transaction failed", "no database")
    assert line["transaction.id"] == transaction.id


async def test_a_thousand_votes_leave_no_descriptor_behind(polling: Polling) -> None:
    manager, transaction = polling.manager(), polling.transaction()
    await manager.vote(transaction, Phase.PREPARED, DIGEST)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(100):
                tasks.create_task(manager.vote(polling.transaction(), Phase.PREPARED, DIGEST))
    assert len(os.listdir("/proc/self/fd")) <= before  # what others have left may go meanwhile
    assert polling.link.streams == 1


async def test_connections_that_come_and_go_leave_nothing_behind(polling: Polling) -> None:
    polling.link.vanish()
    await polling.served.quiet()
    manager = polling.manager()

    async def visit() -> None:
        link = polling.praefect.connect(polling.served, "node-1")
        await link.ping()
        await manager.vote(polling.transaction(), Phase.PREPARED, DIGEST)
        await link.aclose()
        await polling.served.quiet()

    await visit()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await visit()
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert len(polling.backchannels) == 0


async def test_a_node_without_descriptors_cannot_vote_at_first(polling: Polling) -> None:
    manager, transaction = polling.manager(), polling.transaction()
    with no_descriptors(), pytest.raises(errors.Unavailable) as caught:
        await manager.vote(transaction, Phase.PREPARED, DIGEST)
    assert caught.value.message == "open backchannel: Too many open files"
    await manager.vote(transaction, Phase.PREPARED, DIGEST)
    assert [vote.phase for vote in polling.praefect.votes] == ["PREPARED"]
