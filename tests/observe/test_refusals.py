"""What is remembered of refusals."""

from gitaly.observe.refusals import MOST_OF_A_KIND, Refusals


def refuse(
    refusals: Refusals,
    kind: str = "auth",
    reason: str = "authentication required",
    *,
    now: float = 100.0,
    peer: str = "10.0.0.7:1001",
    repository: str = "",
    correlation_id: str = "a",
) -> None:
    refusals.note(
        kind,
        reason=reason,
        rpc="RefService/RefExists",
        client="gitlab-web",
        repository=repository,
        peer=peer,
        correlation_id=correlation_id,
        now=now,
    )


def test_the_latest_comes_first() -> None:
    refusals = Refusals()
    refuse(refusals)
    refuse(refusals, "limit", "queue full", now=101.0)
    assert [refusal.kind for refusal in refusals.latest()] == ["limit", "auth"]


def test_a_storm_of_the_same_is_one_entry_with_a_number() -> None:
    refusals = Refusals()
    for number in range(1000):
        peer = f"10.0.0.7:{number}"
        refuse(refusals, peer=peer, correlation_id=str(number), now=100.0 + number)
    [entry] = refusals.latest()
    assert (entry.count, entry.first, entry.last) == (1000, 100.0, 1099.0)
    assert (entry.correlation_id, entry.peer) == ("999", "10.0.0.7:999")


def test_a_storm_of_different_ones_does_not_push_out_another_kind() -> None:
    refusals = Refusals()
    refuse(refusals, "memory", "memory limit")
    for number in range(10_000):
        refuse(refusals, reason=f"token {number}")
    kinds = [refusal.kind for refusal in refusals.latest()]
    assert (kinds.count("auth"), kinds.count("memory")) == (MOST_OF_A_KIND, 1)


def test_of_many_different_ones_the_last_are_remembered() -> None:
    refusals = Refusals()
    for number in range(100):
        refuse(refusals, reason=f"token {number}", now=float(number))
    assert refusals.latest()[0].reason == "token 99"
    assert refusals.latest()[-1].reason == f"token {100 - MOST_OF_A_KIND}"


def test_long_words_of_clients_are_not_kept() -> None:
    refusals = Refusals()
    refuse(refusals, reason="x" * 1_000_000, repository="\ud800" + "y" * 1_000_000)
    [entry] = refusals.latest()
    assert (len(entry.reason), entry.reason[-1]) == (300, "…")
    assert (len(entry.repository), entry.repository[0]) == (300, "?")
