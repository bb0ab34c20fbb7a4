"""The last refusals and failures of a node. A storm of the same one is one line with a number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gitaly.observe.snapshot import MOST_CHARACTERS, Refusal, bounded

MOST_OF_A_KIND: Final = 25  # each kind by itself: a storm of one does not hide the others
Identity = tuple[str, str, str, str, str]  # reason, RPC, repository, client, user


@dataclass(slots=True)
class _Entry:
    """How often, when, and what differs from one to the next."""

    first: float
    last: float = 0.0
    count: int = 0
    peer: str = ""
    correlation_id: str = ""


class Refusals:
    """Keeps them. Noting is for one thread, and cheap; reading is for any."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[Identity, _Entry]] = {}

    def note(
        self,
        kind: str,
        *,
        reason: str,
        rpc: str,
        now: float,  # seconds since 1970
        repository: str = "",
        client: str = "",
        user: str = "",
        peer: str = "",
        correlation_id: str = "",
    ) -> None:
        """Remember it; if the same is known already, count it."""
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = {}
        identity = (
            reason[: MOST_CHARACTERS + 1],
            rpc,
            repository[: MOST_CHARACTERS + 1],
            client[: MOST_CHARACTERS + 1],
            user[: MOST_CHARACTERS + 1],
        )
        entry = known.pop(identity, None)
        if entry is None:
            entry = _Entry(now)
            if len(known) >= MOST_OF_A_KIND:
                del known[next(iter(known))]
        entry.last, entry.peer, entry.correlation_id = now, peer, correlation_id
        entry.count += 1
        known[identity] = entry

    def latest(self) -> list[Refusal]:
        """All that are remembered, the latest first."""
        return sorted(self._all(), key=lambda refusal: -refusal.last)

    def _all(self) -> Iterator[Refusal]:
        for kind, known in self._kinds.copy().items():  # a copy is taken in one step
            for (reason, rpc, repository, client, user), entry in known.copy().items():
                yield Refusal(
                    kind=kind,
                    reason=bounded(reason),
                    rpc=rpc,
                    repository=bounded(repository),
                    client=bounded(client),
                    user=bounded(user),
                    peer=entry.peer,
                    correlation_id=entry.correlation_id,
                    first=entry.first,
                    last=entry.last,
                    count=entry.count,
                )
