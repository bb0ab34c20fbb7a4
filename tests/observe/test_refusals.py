"""What is remembered of refusals."""

from dataclasses import replace

from gitaly.observe.refusals import MOST_OF_A_KIND, Refusals
from gitaly.observe.snapshot import Refusal

NO_TOKEN = Refusal(
    kind="auth",
    reason="authentication required",
    rpc="RefService/RefExists",
    client="gitlab-web",
    peer="10.0.0.7:1001",
    correlation_id="a",
    first=100.0,
    last=100.0,
)


def test_the_latest_comes_first() -> None:
    refusals = Refusals()
    refusals.note(NO_TOKEN)
    refusals.note(replace(NO_TOKEN, kind="limit", reason="queue full", first=101.0, last=101.0))
    assert [refusal.kind for refusal in refusals.latest()] == ["limit", "auth"]


def test_a_storm_of_the_same_is_one_entry_with_a_number() -> None:
    refusals = Refusals()
    for number in range(1000):
        refusals.note(
            replace(
                NO_TOKEN,
                peer=f"10.0.0.7:{number}",
                correlation_id=str(number),
                first=100.0 + number,
                last=100.0 + number,
            )
        )
    [entry] = refusals.latest()
    assert (entry.count, entry.first, entry.last) == (1000, 100.0, 1099.0)
    assert entry.correlation_id == "999"


def test_a_storm_of_different_ones_does_not_push_out_another_kind() -> None:
    refusals = Refusals()
    refusals.note(replace(NO_TOKEN, kind="memory", reason="memory limit"))
    for number in range(10_000):
        refusals.note(replace(NO_TOKEN, reason=f"token {number}"))
    kinds = [refusal.kind for refusal in refusals.latest()]
    assert (kinds.count("auth"), kinds.count("memory")) == (MOST_OF_A_KIND, 1)


def test_of_many_different_ones_the_last_are_remembered() -> None:
    refusals = Refusals()
    for number in range(100):
        refusals.note(replace(NO_TOKEN, reason=f"token {number}", last=float(number)))
    assert refusals.latest()[0].reason == "token 99"
    assert refusals.latest()[-1].reason == f"token {100 - MOST_OF_A_KIND}"
