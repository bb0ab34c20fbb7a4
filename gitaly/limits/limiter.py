"""One limit at work: lets calls wait at its gates, counts them, and words the refusals."""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from google.protobuf.duration_pb2 import Duration

from gitaly._pb.errors_pb2 import LimitError
from gitaly.errors import ResourceExhausted
from gitaly.git import current_account
from gitaly.limits.gates import GateFull, Gates, State, Ticket
from gitaly.limits.metrics import Monitor
from gitaly.observe.snapshot import MOST_KEYS, KeyState, QueueState, bounded

QUEUE_FULL: Final = "maximum queue size reached"
WAITED_TOO_LONG: Final = "maximum time in concurrency queue reached"
LEFT: Final = "unexpected error when dequeueing request: context canceled"
MAX_SIZE: Final = "max_size"
MAX_TIME: Final = "max_time"
OTHER: Final = "other"
# A call is told of its deadline by another clock than ours, which may be a little ahead.
CLOCK_SLACK_SECONDS: Final = 0.01

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one limit says."""

    concurrency: int  # for one key; at least 1
    queue_size: int = 0  # for one key; 0: any number
    queue_wait_seconds: float = 0.0  # 0: as long as the caller waits
    shadow: bool = False  # decide and count, but let everybody run at once


@dataclass(slots=True, kw_only=True)
class Turn:
    """How a call fared at a limit; times in seconds."""

    ticket: Ticket | None  # None: it got no place
    kind: str
    key: str
    queue_length: int  # when it came, itself included
    in_progress: int = 0
    waited_seconds: float = 0.0
    dropped: str = ""  # the reason
    authenticated: str = ""
    shadow: str = ""  # what would have happened: "queued" or the reason of a drop

    def fields(self) -> dict[str, object]:
        """For the log line of the call, in Gitaly's names."""
        fields: dict[str, object] = {
            "limit.limiting_type": self.kind,
            "limit.limiting_key": self.key,
            "limit.concurrency_queue_length": self.queue_length,
            "limit.concurrency_queue_ms": int(self.waited_seconds * 1000),
            "limit.concurrency_in_progress": self.in_progress,
        }
        if self.dropped:
            fields["limit.concurrency_dropped"] = self.dropped
            if self.authenticated:
                fields["limit.authenticated"] = self.authenticated
        if self.shadow:
            fields["limit.shadow"] = self.shadow
        return fields


class Refused(ResourceExhausted):
    """The queue is full, or the call waited as long as it may. `turn` is for the log."""

    def __init__(self, message: str, turn: Turn) -> None:
        super().__init__(message)
        # Present and zero: do not try again by yourself.
        self.details = (LimitError(error_message=message, retry_after=Duration()),)
        self.turn = turn


class LeftQueue(asyncio.CancelledError):
    """The call was cancelled while it waited. `turn` is for the log."""

    def __init__(self, message: str, turn: Turn) -> None:
        super().__init__(message)
        self.turn = turn


class Limiter:
    """Lets at most so many calls of a key run at once.

    `enter` and `leave` take and give plain values: the gates may come to stand in another process.
    """

    def __init__(self, rule: Rule, monitor: Monitor, clock: Clock = time.monotonic) -> None:
        self.monitor = monitor
        self._shadow = rule.shadow
        self._places = rule.queue_size
        self._gates = Gates(rule.concurrency, rule.queue_size, rule.queue_wait_seconds)
        self._clock = clock
        self._turns: dict[Ticket, asyncio.Future[bool]] = {}  # False: the time is up
        self._timer: asyncio.TimerHandle | None = None
        self._most_wanted = 0
        monitor.keys.set_function(lambda: len(self._gates))

    @property
    def limit(self) -> int:
        """How many calls of a key may run at once."""
        return self._gates.limit

    @property
    def keys(self) -> int:
        """For how many keys somebody runs or waits."""
        return len(self._gates)

    def state(self) -> QueueState:
        """Who stands where, for any thread."""
        standings = self._gates.standings()
        busiest = heapq.nlargest(MOST_KEYS, standings, key=lambda found: (found[2], found[1]))
        return QueueState(
            name=self.monitor.name,
            limit=self._gates.limit,
            places=self._places,
            is_shadow=self._shadow,
            running=sum(running for _, running, _ in standings),
            waiting=sum(waiting for _, _, waiting in standings),
            keys=len(standings),
            busiest=tuple(
                KeyState(key=bounded(key), running=running, waiting=waiting)
                for key, running, waiting in busiest
            ),
        )

    def resize(self, limit: int) -> None:
        """Change the limit. Those who run may end what they do."""
        self._wake(self._gates.resize(limit))

    def adopt(self, rule: Rule) -> None:
        """Another rule from now on. Who runs goes on; who waits keeps the place, or may run now."""
        is_first_shadow = rule.shadow and not self._shadow
        self._shadow = rule.shadow
        self._is_bounded = rule.queue_size > 0
        self._gates.set_queue(rule.queue_size, rule.queue_wait_seconds, self._clock())
        self.resize(rule.concurrency)
        if is_first_shadow:
            self._wake(list(self._turns))  # in shadow everybody runs; the gates count on
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._arm()

    async def enter(self, key: str, deadline: float | None = None) -> Turn:
        """Wait until the call may run; then `leave` must follow, once.

        `deadline`: when the caller stops waiting, by our clock; it only explains a cancellation.
        Raises Refused, and LeftQueue if the call is cancelled meanwhile; then nothing is held.
        """
        arrived = self._clock()
        running, waiting = self._gates.standing(key)
        length = waiting + 1
        if running + length > self._most_wanted:
            self._most_wanted = running + length
            self.monitor.most_wanted.set(self._most_wanted)
        try:
            ticket = self._gates.enter(key, arrived)
        except GateFull:
            turn = self._turn(None, key, length - 1)
            if not self._shadow:
                raise self._refused(QUEUE_FULL, MAX_SIZE, turn) from None
            return self._run_in_shadow(turn, MAX_SIZE)
        turn = self._turn(ticket, key, length if self._places else 0)
        if ticket.state is State.WAITING:
            if self._shadow:
                self._arm()
                return self._run_in_shadow(turn, "queued")
            await self._wait(ticket, turn, deadline)
        turn.in_progress = self._gates.running(key)
        self.monitor.in_progress.inc()
        self.monitor.acquiring.observe(turn.waited_seconds)
        return turn

    def leave(self, turn: Turn) -> None:
        """Give the place back. Doesn't wait: no second cancellation can come between."""
        self.monitor.in_progress.dec()
        if turn.ticket is not None:
            self._give_up(turn.ticket)

    @asynccontextmanager
    async def slot(self, key: str, deadline: float | None = None) -> AsyncIterator[Turn]:
        """A place for the length of the block. Raises at its entrance what `enter` raises."""
        turn = await self.enter(key, deadline)
        try:
            yield turn
        finally:
            self.leave(turn)

    async def _wait(self, ticket: Ticket, turn: Turn, deadline: float | None) -> None:
        called = self._turns[ticket] = asyncio.get_running_loop().create_future()
        self._arm()
        self.monitor.queued.inc()
        account = current_account()
        account.wait(self.monitor.name, ticket.arrived)
        try:
            is_my_turn = await called
        except asyncio.CancelledError:
            self._give_up(ticket)
            now = self._measure(ticket, turn)
            if deadline is not None and now >= deadline - CLOCK_SLACK_SECONDS:
                self._drop(MAX_TIME, turn)
                raise LeftQueue(WAITED_TOO_LONG, turn) from None
            self._drop(OTHER, turn)
            raise LeftQueue(LEFT, turn) from None
        finally:
            del self._turns[ticket]
            self.monitor.queued.dec()
            account.go_on(self._clock())
        self._measure(ticket, turn)
        if not is_my_turn:
            turn.queue_length = self._gates.waiting(turn.key)
            raise self._refused(WAITED_TOO_LONG, MAX_TIME, turn)

    def _measure(self, ticket: Ticket, turn: Turn) -> float:
        now = self._clock()
        turn.waited_seconds = now - ticket.arrived
        return now

    def _give_up(self, ticket: Ticket) -> None:
        following = self._gates.leave(ticket)
        if following is not None:
            self._wake((following,))

    def _wake(self, tickets: Iterable[Ticket], is_turn: bool = True) -> None:
        for ticket in tickets:
            # In shadow nobody waits. A cancelled future's owner is about to give its place up.
            called = self._turns.get(ticket)
            if called is not None and not called.done():
                called.set_result(is_turn)

    def _arm(self) -> None:
        """One timer for all who wait: the time of the oldest is up first."""
        if self._timer is not None:
            return
        expiry = self._gates.next_expiry()
        if expiry is not None:
            seconds = max(0.0, expiry - self._clock())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        expired = self._gates.expire(self._clock())
        if self._shadow:
            for _ in expired:
                self.monitor.shadow_dropped(MAX_TIME).inc()
        self._wake(expired, is_turn=False)
        self._arm()

    def _turn(self, ticket: Ticket | None, key: str, queue_length: int) -> Turn:
        monitor = self.monitor
        return Turn(
            ticket=ticket,
            kind=monitor.kind,
            key=key,
            queue_length=queue_length,
            authenticated=monitor.authenticated,
        )

    def _run_in_shadow(self, turn: Turn, what: str) -> Turn:
        turn.shadow = what
        if what == MAX_SIZE:
            self.monitor.shadow_dropped(MAX_SIZE).inc()
        else:
            self.monitor.shadow_queued.inc()
        turn.in_progress = self._gates.running(turn.key)
        self.monitor.in_progress.inc()
        self.monitor.acquiring.observe(0.0)
        return turn

    def _refused(self, text: str, reason: str, turn: Turn) -> Refused:
        self._drop(reason, turn)
        return Refused(text, turn)

    def _drop(self, reason: str, turn: Turn) -> None:
        turn.dropped = reason
        turn.in_progress = self._gates.running(turn.key)
        self.monitor.dropped(reason).inc()
