"""What every call passes through, from the outside in. `Steps.list` is the list to read."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message

from gitaly.errors import NodeError
from gitaly.git import ACCOUNT
from gitaly.limits import LeftQueue, Limiter, MethodLimits, Refused, Turn
from gitaly.observe.log import Logger
from gitaly.observe.refusals import Refusals
from gitaly.rpc.access_log import AccessLog, client_of
from gitaly.rpc.auth import Authenticator
from gitaly.rpc.call import Call
from gitaly.rpc.contract import Method
from gitaly.rpc.cost import base_cost
from gitaly.rpc.metrics import RpcMetrics
from gitaly.rpc.refusing import remember
from gitaly.rpc.shedding import RunningReads
from gitaly.rpc.status import OK, Outcome, outcome_of
from gitaly.storage import Pulse

Handler = Callable[[Call], Awaitable[None]]
Step = Callable[[Handler], Handler]

HEALTH: Final = "grpc.health.v1.Health"
# A client's clock for its deadline runs a little ahead of ours, and then it breaks the call off.
CLOCK_SLACK_SECONDS: Final = 0.01
LIMIT_UNAUTHENTICATED: Final = "gitaly-feature-limit-unauthenticated"
NO_LIMITS: Final[Mapping[str, MethodLimits]] = MappingProxyType({})
CORRELATION_ID: Final = "x-gitlab-correlation-id"
# What is passed on to logs, git's environment and other servers: short, and nothing but print.
SOUND_ID: Final = re.compile(r"[!-~]{1,255}", re.ASCII)


class Steps:
    """The steps of one server, built once and wrapped around the handler of each method."""

    def __init__(
        self,
        *,
        metrics: RpcMetrics,
        access_log: AccessLog,
        auth: Authenticator,
        running: set[Call],  # kept up to date here, read by whoever wants to know
        logger: Logger,
        limits: Mapping[str, MethodLimits] = NO_LIMITS,  # by the path of the method
        reads: RunningReads | None = None,  # None: no load is shed
        refusals: Refusals | None = None,  # where the last ones are remembered
        pulse: Pulse | None = None,  # None: storages are taken to answer
    ) -> None:
        self._pulse = pulse
        self._refusals = refusals
        self._reads = reads
        self._limits = limits
        self._running = running
        self._metrics = metrics
        self._access_log = access_log
        self._auth = auth
        self._logger = logger

    @property
    def list(self) -> Sequence[Step]:
        """Outermost first. A failure of any step below `report` is counted and logged like any
        other. `around` adds, below all of these, what only some methods have."""
        return (
            self.identify,  # correlation id, account of git children
            self.report,  # metrics and the access log
            self.decide,  # error → status; a bug → INTERNAL, with its traceback in the log only
            self.authenticate,
        )

    def around(self, handler: Handler, method: Method) -> Handler:
        """Wrap the handler of a method.

        Limits stand below authentication, so that tokens can't expire in a queue. What storages
        are asked stands below limits: the answer must be young when the handler begins.
        """
        handler = self.attend(handler, method)
        handler = self.limit(handler, method.path)
        handler = self.price(handler, base_cost(method))
        if self._reads is not None and method.operation == "accessor":
            handler = self._reads.watch(handler)
        for step in reversed(self.list):
            handler = step(handler)
        return handler

    def around_hook(self, handler: Handler) -> Handler:
        """Wrap what answers a hook program of ours, whose token has been judged already."""
        return self.identify(self.report(self.decide(handler)))

    def identify(self, inner: Handler) -> Handler:
        """Give the call its correlation id: the client's, else a new one."""

        async def handler(call: Call) -> None:
            given = call.metadata.get(CORRELATION_ID, "")
            is_sound = SOUND_ID.fullmatch(given)
            call.account.correlation_id = given if is_sound else os.urandom(16).hex()
            ACCOUNT.set(call.account)
            await inner(call)

        return handler

    def report(self, inner: Handler) -> Handler:
        """Count the call and log its end, however it ends."""

        async def handler(call: Call) -> None:
            self._metrics.call_started(call)
            self._running.add(call)
            try:
                await inner(call)
            finally:
                self._running.discard(call)
                call.ended = time.monotonic()
                # The answer goes first: the client need not wait for our book-keeping.
                asyncio.get_running_loop().call_soon(self._book, call)

        return handler

    def _book(self, call: Call) -> None:
        client = client_of(call)
        self._metrics.call_ended(call, client)
        has_failed = call.outcome.code is not OK or call.refusal
        if has_failed and self._refusals is not None:
            remember(self._refusals, call, client["client_name"], time.time())
        if self._access_log.covers(call.method):
            self._access_log.finished(call, client)

    def decide(self, inner: Handler) -> Handler:
        """Turn what was raised into the outcome of the call."""

        async def handler(call: Call) -> None:
            try:
                await inner(call)
            except asyncio.CancelledError as error:
                call.outcome = _ended(call, outcome_of(error, call.correlation_id))
                raise
            except NodeError as error:
                call.outcome = _ended(call, outcome_of(error, call.correlation_id))
            except Exception as error:
                self._logger.error(
                    "call failed in a way nobody foresaw",
                    correlation_id=call.correlation_id,
                    method=call.method.path,
                    traceback=_traceback(error),
                )
                call.outcome = _ended(call, outcome_of(error, call.correlation_id))

        return handler

    def authenticate(self, inner: Handler) -> Handler:
        """Let nobody in without a good token, where one is configured; health is for everybody."""

        async def handler(call: Call) -> None:
            if call.method.service != HEALTH:
                self._auth.check(call)
            await inner(call)

        return handler

    def price(self, inner: Handler, base: int) -> Handler:
        """Tell the client what the call cost; see `rpc.cost`."""

        async def handler(call: Call) -> None:
            call.base_cost = base
            await inner(call)

        return handler

    def limit(self, inner: Handler, path: str) -> Handler:
        """Let only so many calls of a method about one repository run at once.

        Which limits there are is looked up for each call: they may change while the node runs.
        A place is taken at the first message, which says what repository it is, and held until
        the handler has ended. A call about no repository is not limited.
        """

        async def handler(call: Call) -> None:
            limits = self._limits.get(path)
            limiter = _limiter_of(call, limits) if limits is not None else None
            if limiter is None:
                await inner(call)
                return
            turn: Turn | None = None

            async def admit(request: Message) -> None:
                nonlocal turn
                repository = call.method.target_repository(request)
                if repository is None or not repository.relative_path:
                    return
                try:
                    turn = await limiter.enter(repository.relative_path, call.deadline)
                except (Refused, LeftQueue) as gone:
                    call.base_cost = None
                    call.log_fields.update(gone.turn.fields())
                    raise
                call.log_fields.update(turn.fields())

            call.admit = admit
            try:
                await inner(call)
            finally:
                if turn is not None:
                    limiter.leave(turn)

        return handler

    def attend(self, inner: Handler, method: Method) -> Handler:
        """Let the handler begin when the file system below its storage answers; it may touch it
        on the event loop. Asked at the first message, which names the storage."""
        pulse = self._pulse
        if pulse is None or not (method.target or method.storage):
            return inner

        async def handler(call: Call) -> None:
            earlier = call.admit

            async def admit(request: Message) -> None:
                if earlier is not None:
                    await earlier(request)
                name = method.storage_in(request)
                if name is not None and not pulse.is_fresh(name):
                    await pulse.feel(name)

            call.admit = admit
            await inner(call)

        return handler


def _limiter_of(call: Call, limits: MethodLimits) -> Limiter | None:
    return limits.limiter(
        has_username="username" in call.metadata,
        tells_apart=call.metadata.get(LIMIT_UNAUTHENTICATED, "true") == "true",
    )


def _ended(call: Call, outcome: Outcome) -> Outcome:
    """The deadline of the client wins over any other code, as with the reference; text is kept."""
    if call.deadline is None or time.monotonic() < call.deadline - CLOCK_SLACK_SECONDS:
        return outcome
    return outcome.as_deadline_exceeded()


def _traceback(error: Exception) -> str:
    import traceback  # only when a bug shows itself

    return "".join(traceback.format_exception(error))
