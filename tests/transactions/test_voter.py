"""What a call, or a hook on its behalf, does in a transaction; and without one."""

import pytest

from gitaly import errors
from gitaly.storage import Phase
from gitaly.transactions import (
    Transaction,
    TransactionAborted,
    Voter,
)
from tests.transactions.conftest import Polling

NEW = b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/topic\n"
DIGEST = bytes(range(20))


@pytest.fixture
def voter(polling: Polling) -> Voter:
    return Voter(polling.manager(), polling.transaction())


def cast(polling: Polling) -> list[tuple[str, str]]:
    return [(vote.phase, vote.digest) for vote in polling.praefect.votes]


async def test_without_a_transaction_everybody_agrees(polling: Polling) -> None:
    nobody = Voter(polling.manager(), None)
    assert nobody.is_primary
    await nobody.vote(Phase.PREPARED, DIGEST)
    await nobody.synchronize("pre-receive")
    await nobody.reference_transaction("prepared", NEW)
    await nobody.stop()
    await nobody.conclude()
    assert cast(polling) == []
    assert polling.praefect.stops == []


@pytest.mark.parametrize("is_primary", [True, False])
def test_hooks_run_on_the_primary(polling: Polling, is_primary: bool) -> None:
    transaction = Transaction(id=1, node="node-1", primary=is_primary)
    assert Voter(polling.manager(), transaction).is_primary is is_primary


async def test_hooks_line_the_nodes_up(polling: Polling, voter: Voter) -> None:
    for hook in ("pre-receive", "update", "post-receive"):
        await voter.synchronize(hook)
    assert cast(polling) == [
        ("SYNCHRONIZED", "7475a0d87cbbee23b9a7e8ccde58a494db01611f"),
        ("SYNCHRONIZED", "959087c30d483e52b9e8574a4bd58c4cd7070692"),
        ("SYNCHRONIZED", "17709ba9f26ecc0b0109e3015ed9e824792841fb"),
    ]


async def test_a_hook_that_the_others_do_not_follow(polling: Polling, voter: Voter) -> None:
    polling.praefect.script[1] = "ABORT"
    with pytest.raises(TransactionAborted) as caught:
        await voter.synchronize("pre-receive")
    text = "synchronizing pre-receive hook: vote failed: transaction was aborted"
    assert caught.value.message == text


@pytest.mark.parametrize(("state", "phase"), [("prepared", "PREPARED"), ("committed", "COMMITTED")])
async def test_git_votes_when_it_has_locked_and_when_it_has_written(
    polling: Polling, voter: Voter, state: str, phase: str
) -> None:
    await voter.reference_transaction(state, NEW)
    assert cast(polling) == [(phase, "8e16fa5d055c88010d4fec225f24f77a1970f42e")]


@pytest.mark.parametrize(
    ("state", "updates"),
    [
        ("aborted", NEW),
        ("nonsense", NEW),
        ("prepared", b""),
        ("prepared", b"0" * 40 + b" " + b"0" * 40 + b" refs/heads/topic\n"),
        ("committed", b"0" * 64 + b" " + b"0" * 64 + b" refs/heads/topic\n"),
    ],
)
async def test_git_does_not_vote_otherwise(
    polling: Polling, voter: Voter, state: str, updates: bytes
) -> None:
    await voter.reference_transaction(state, updates)
    assert cast(polling) == []


@pytest.mark.parametrize(
    ("answer", "error"), [("ABORT", errors.Aborted), ("STOP", errors.FailedPrecondition)]
)
async def test_git_is_told_that_there_is_no_agreement(
    polling: Polling, voter: Voter, answer: str, error: type[errors.NodeError]
) -> None:
    polling.praefect.script[1] = answer
    with pytest.raises(error, match="error voting on transaction: transaction was "):
        await voter.reference_transaction("prepared", NEW)


async def test_stopping_stops_the_transaction(polling: Polling, voter: Voter) -> None:
    await voter.stop()
    assert voter.transaction is not None
    assert polling.praefect.stops == [voter.transaction.id]


async def test_a_push_ends_with_a_vote_on_nothing(polling: Polling, voter: Voter) -> None:
    await voter.conclude()
    assert cast(polling) == [("COMMITTED", "0" * 40)]


async def test_that_a_push_was_stopped_is_no_news_at_its_end(
    polling: Polling, voter: Voter
) -> None:
    await voter.stop()
    await voter.conclude()
    assert cast(polling) == [("COMMITTED", "0" * 40)]


async def test_a_push_on_which_nodes_differ_is_aborted_at_its_end(
    polling: Polling, voter: Voter
) -> None:
    polling.praefect.script[1] = "ABORT"
    with pytest.raises(errors.Aborted) as caught:
        await voter.conclude()
    assert caught.value.message == "final transactional vote: transaction was aborted"


async def test_the_end_of_a_push_that_is_over_for_praefect(polling: Polling, voter: Voter) -> None:
    assert voter.transaction is not None
    polling.praefect.forget(voter.transaction.id)
    with pytest.raises(errors.NotFound, match="final transactional vote: transaction not found"):
        await voter.conclude()
