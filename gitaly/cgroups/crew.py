"""Which spawner process starts what, and what has to wait. Decides; starts nothing.

A spawner stands still while its group is throttled. So it serves one group at a time, as long as
there are enough of them; a group occupies at most two of them with births; and groups take turns.
"""

from collections import Counter, OrderedDict, deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

BIRTHS_AT_ONCE: Final = 2  # in one group: what a group that stands still can keep busy


class Worker(Generic[T]):
    """One spawner process."""

    def __init__(self, process: T) -> None:
        self.process = process
        self.group = ""  # the one it has served last
        self.children: Counter[str] = Counter()  # alive, by group
        self.is_spawning = False
        self.idle_since = 0.0

    @property
    def is_idle(self) -> bool:
        """Nobody would notice if it were gone."""
        return not self.is_spawning and not self.children


class Ticket:
    """A place in the queue."""

    __slots__ = ("group", "since")

    def __init__(self, group: str, since: float) -> None:
        self.group = group
        self.since = since


class QueueFull(Exception):
    """Too many wait for this group already, or have waited too long."""


class Crew(Generic[T]):
    """The spawners and the queue before them."""

    def __init__(self, *, most: int, places: int, patience_seconds: float) -> None:
        """`most` spawners; `places` in the queue of each group, in which nobody waits longer."""
        self._most = most
        self._places = places
        self._patience_seconds = patience_seconds
        self._workers: list[Worker[T]] = []
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._births: Counter[str] = Counter()  # under way, by group

    @property
    def workers(self) -> list[Worker[T]]:
        return list(self._workers)

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return sum(map(len, self._waiting.values()))

    def needs_another(self) -> bool:
        """Whether one more should be started, so that one is always there for a new group."""
        return len(self._workers) < self._most and not self._available()

    def add(self, worker: Worker[T]) -> None:
        self._workers.append(worker)

    def lose(self, worker: Worker[T]) -> None:
        """It is gone, with all that it had under way."""
        self._workers.remove(worker)
        if worker.is_spawning:
            self._end_birth(worker)

    def surplus(self, before: float, keep: int) -> list[Worker[T]]:
        """Those beyond `keep` that have been idle since before a moment."""
        idle = sorted((w for w in self._workers if w.is_idle), key=lambda w: w.idle_since)
        return [w for w in idle[: max(0, len(idle) - keep)] if w.idle_since < before]

    def enter(self, ticket: Ticket) -> None:
        """Queue up. Raises QueueFull."""
        queue = self._waiting.get(ticket.group)
        if queue is None:
            queue = self._waiting[ticket.group] = deque()
        elif len(queue) >= self._places or ticket.since - queue[0].since > self._patience_seconds:
            raise QueueFull(str(len(queue)))
        queue.append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Nobody waits on this ticket any more; if it has been served: nothing."""
        queue = self._waiting.get(ticket.group)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._waiting[ticket.group]

    def next(self) -> tuple[Ticket, Worker[T]] | None:
        """Who is served now, and by whom. None: nobody waits who could be served."""
        for group, queue in self._waiting.items():
            worker = self._choose(group)
            if worker is not None:
                ticket = queue.popleft()
                self._waiting.move_to_end(group)
                if not queue:
                    del self._waiting[group]
                worker.group = group
                worker.is_spawning = True
                self._births[group] += 1
                return ticket, worker
        return None

    def born(self, worker: Worker[T], now: float, *, lives: bool) -> None:
        """The birth that a worker had under way is over."""
        self._end_birth(worker)
        if lives:
            worker.children[worker.group] += 1
        worker.idle_since = now

    def died(self, worker: Worker[T], group: str, now: float) -> None:
        """A child has been reaped."""
        worker.children[group] -= 1
        if not worker.children[group]:
            del worker.children[group]
        worker.idle_since = now

    def _end_birth(self, worker: Worker[T]) -> None:
        worker.is_spawning = False
        self._births[worker.group] -= 1
        if not self._births[worker.group]:
            del self._births[worker.group]

    def _choose(self, group: str) -> Worker[T] | None:
        if self._births[group] >= BIRTHS_AT_ONCE:
            return None
        free = [w for w in self._workers if not w.is_spawning]
        at_home = [w for w in free if w.group == group]
        if at_home:
            return at_home[0]
        idle = self._available()
        if idle:
            return min(idle, key=lambda w: w.idle_since)
        if len(self._workers) < self._most:
            return None  # another one is being started
        return min(free, key=lambda w: w.children.total(), default=None)

    def _available(self) -> list[Worker[T]]:
        """Idle ones; but one that waits inside a group at work may move as slowly as that group."""
        busy = {name for w in self._workers for name in w.children} | set(self._births)
        return [w for w in self._workers if w.is_idle and w.group not in busy]
