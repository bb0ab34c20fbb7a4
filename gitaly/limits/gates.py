"""Who runs and who waits: one gate for each key of a limit. Decides; never waits, reads no clock.

Source of the rules: Gitaly, internal/limiter/concurrency_limiter.go.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum


class State(Enum):
    """Where a ticket is."""

    RUNNING = "running"
    WAITING = "waiting"
    OUT = "out"  # left, or its time was up


@dataclass(slots=True, eq=False)
class Ticket:
    """One call at a gate."""

    key: str
    arrived: float  # seconds, by the clock of whoever hands the times in
    expires: float = math.inf  # when it has waited long enough
    state: State = State.WAITING


class GateFull(Exception):
    """Nobody else may wait at this gate; it is as if the caller had never come."""


@dataclass(slots=True)
class _Gate:
    running: int = 0
    # A dictionary is an ordered set: its end is the newest, and anybody leaves in no time.
    waiting: dict[Ticket, None] = field(default_factory=dict)


class Gates:
    """The gates of one limit. Each lets `limit` calls run and `places` wait.

    The newest waiter is served first: of those who wait, it is the likeliest whose client still
    wants the answer. A place that gets free is passed on, so that no newcomer can steal it. A gate
    at which nobody stands is forgotten.

    `limit`: at least 1. `places`: 0 for any number. `wait_seconds`: how long anybody may wait; 0
    for ever.
    """

    def __init__(self, limit: int, places: int, wait_seconds: float) -> None:
        self.limit = limit
        self._places = places
        self._wait_seconds = wait_seconds or math.inf
        self._gates: dict[str, _Gate] = {}
        # At all gates, the oldest first. A plain dictionary would search for its first entry among
        # the places of those who have left.
        self._waiting: OrderedDict[Ticket, None] = OrderedDict()

    def __len__(self) -> int:
        """How many gates somebody stands at."""
        return len(self._gates)

    def standing(self, key: str) -> tuple[int, int]:
        """How many calls run behind a gate, and how many wait at it."""
        gate = self._gates.get(key)
        return (gate.running, len(gate.waiting)) if gate is not None else (0, 0)

    def standings(self) -> list[tuple[str, int, int]]:
        """Every gate at which somebody stands: key, running, waiting. For any thread."""
        return [(key, gate.running, len(gate.waiting)) for key, gate in self._gates.copy().items()]

    def running(self, key: str) -> int:
        """How many calls run behind a gate."""
        return self.standing(key)[0]

    def waiting(self, key: str) -> int:
        """How many calls wait at a gate."""
        return self.standing(key)[1]

    def enter(self, key: str, now: float) -> Ticket:
        """A ticket that runs or waits. Raises GateFull.

        Those who run count for the queue too: after the limit has fallen, more may run than it
        says, and they leave less room to wait.
        """
        ticket = Ticket(key, now, now + self._wait_seconds)
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = _Gate()
        elif self._places and gate.running + len(gate.waiting) >= self.limit + self._places:
            raise GateFull
        if gate.running < self.limit:
            gate.running += 1
            ticket.state = State.RUNNING
        else:
            gate.waiting[ticket] = None
            self._waiting[ticket] = None
        return ticket

    def leave(self, ticket: Ticket) -> Ticket | None:
        """Whose turn it is now, if anybody's. A ticket that is out already changes nothing."""
        if ticket.state is State.OUT:
            return None
        gate = self._gates[ticket.key]
        following = None
        if ticket.state is State.WAITING:
            del gate.waiting[ticket], self._waiting[ticket]
        else:
            gate.running -= 1
            if gate.running < self.limit:
                following = self._let_run(gate)
        ticket.state = State.OUT
        self._forget_if_empty(ticket.key, gate)
        return following

    def resize(self, limit: int) -> list[Ticket]:
        """Change the limit; those whose turn it is now. Those who run may end what they do."""
        self.limit = limit
        following = []
        for gate in self._gates.values():
            while gate.running < limit and (ticket := self._let_run(gate)) is not None:
                following.append(ticket)
        return following

    def set_queue(self, places: int, wait_seconds: float, now: float) -> None:
        """Change how many may wait, and how long.

        Nobody loses a place. Who waits already gets the new time if that is longer; a shorter one
        begins now, so that not all of them are sent away at once.
        """
        self._places = places
        self._wait_seconds = wait_seconds or math.inf
        for ticket in self._waiting:  # the oldest still expires first
            shortened = min(ticket.expires, now + self._wait_seconds)
            ticket.expires = max(ticket.arrived + self._wait_seconds, shortened)

    def next_expiry(self) -> float | None:
        """When the time of a waiter is up; None while nobody waits, or for ever."""
        expires = next(iter(self._waiting)).expires if self._waiting else math.inf
        return expires if expires < math.inf else None

    def expire(self, now: float) -> list[Ticket]:
        """Send away whose time is up; these tickets are out."""
        expired = []
        while (expiry := self.next_expiry()) is not None and expiry <= now:
            ticket = next(iter(self._waiting))
            self.leave(ticket)
            expired.append(ticket)
        return expired

    def _let_run(self, gate: _Gate) -> Ticket | None:
        if not gate.waiting:
            return None
        ticket, _ = gate.waiting.popitem()
        del self._waiting[ticket]
        ticket.state = State.RUNNING
        gate.running += 1
        return ticket

    def _forget_if_empty(self, key: str, gate: _Gate) -> None:
        if not gate.running and not gate.waiting:
            del self._gates[key]
