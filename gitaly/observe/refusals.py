"""The last refusals and failures of a node. A storm of the same one is one line with a number."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gitaly.observe.snapshot import Refusal

MOST_OF_A_KIND: Final = 25  # each kind by itself: a storm of one does not hide the others


class Refusals:
    """Keeps them. Noting is for one thread, reading for any."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[tuple[str, ...], Refusal]] = {}

    def note(self, refusal: Refusal) -> None:
        """Remember it; if the same is known already, count it."""
        known = self._kinds.setdefault(refusal.kind, {})
        identity = (
            *(refusal.reason, refusal.rpc, refusal.repository),
            *(refusal.client, refusal.peer.rpartition(":")[0], refusal.user),
        )
        former = known.pop(identity, None)
        if former is not None:
            refusal = replace(refusal, first=former.first, count=former.count + refusal.count)
        elif len(known) >= MOST_OF_A_KIND:
            del known[next(iter(known))]
        known[identity] = refusal

    def latest(self) -> list[Refusal]:
        """All that are remembered, the latest first."""
        return sorted(self._all(), key=lambda refusal: -refusal.last)

    def _all(self) -> Iterator[Refusal]:
        for known in self._kinds.copy().values():  # a copy is taken in one step
            yield from known.copy().values()
