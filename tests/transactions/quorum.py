"""What Praefect decides: the votes of some nodes on one change, and when they agree.

Written from the description of its behaviour, to vote against.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

COMMIT, ABORT, STOP, CANCELED = "COMMIT", "ABORT", "STOP", "CANCELED"


@dataclass
class Round:
    """A subtransaction: one vote of each node is compared."""

    votes: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)


class Quorum:
    """The rounds of one transaction. The first node is the primary."""

    def __init__(self, nodes: Sequence[str]) -> None:
        secondaries = len(nodes) - 1
        self.weights = dict.fromkeys(nodes, 1)
        self.weights[nodes[0]] = secondaries + 1
        self.threshold = secondaries + 1
        if secondaries > 1:
            self.threshold += ceil(secondaries / 2)
        self.rounds: list[Round] = []
        self._stopped = False
        self._left: set[str] = set()  # whose call has failed

    def vote(self, node: str, digest: bytes) -> Round:
        """The round that this vote is in; its result comes with `result`."""
        for found in self.rounds:
            if node not in found.votes:
                break
        else:
            found = Round()
            self.rounds.append(found)
        found.votes[node] = digest
        failed = [x.results[node] for x in self.rounds if x.results.get(node, COMMIT) != COMMIT]
        if self._stopped:
            found.results[node] = STOP
        elif failed:
            found.results[node] = failed[0]
        self._judge(found)
        return found

    def leave(self, node: str) -> None:
        """The node's call is over: its open vote does not count, and no other will come."""
        self._left.add(node)
        for found in self.rounds:
            if node not in found.results:
                found.votes.pop(node, None)
                found.results[node] = CANCELED
                self._judge(found)

    def stop(self) -> None:
        """Whoever has no result yet, and votes later, is stopped."""
        self._stopped = True
        for found in self.rounds:
            for node in self.weights:
                found.results.setdefault(node, STOP)

    def _judge(self, found: Round) -> None:
        counts: dict[bytes, int] = {}
        for node, digest in found.votes.items():
            counts[digest] = counts.get(digest, 0) + self.weights[node]
        best = max(counts, key=lambda digest: counts[digest], default=b"")
        most = counts.get(best, 0)
        out = {*found.votes, *found.results, *self._left}
        open_weight = sum(w for node, w in self.weights.items() if node not in out)
        if most < self.threshold and most + open_weight >= self.threshold:
            return
        has_quorum = most >= self.threshold
        for node, digest in found.votes.items():
            found.results.setdefault(node, COMMIT if has_quorum and digest == best else ABORT)
