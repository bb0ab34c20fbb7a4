"""Hooks of a push as our own hook program brings them: from its streams to the hook manager."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any, Final

from google.protobuf.message import Message

from gitaly._pb.hook_pb2 import (
    PostReceiveHookRequest,
    PreReceiveHookRequest,
    ReferenceTransactionHookRequest,
    UpdateHookRequest,
)
from gitaly.errors import Cancelled, InvalidRequest, NodeError, ResourceExhausted
from gitaly.hooks import HookGone, HookHandler, HookRun, Payload
from gitaly.hooks.custom import CustomHookFailed, HookTimedOut
from gitaly.hooks.manager import HookManager
from gitaly.hooks.push import Push, push_of
from gitaly.rpc import Call
from gitaly.services.hook_calls import HookCalls
from gitaly.storage import Storages
from gitaly.tasks import background

MOST_CHANGES_BYTES: Final = 256 << 20  # a push of a million references
STATES: Final = frozenset({"preparing", "prepared", "committed", "aborted"})
Deciding = Callable[[HookRun, Push], Coroutine[Any, Any, None]]


class ToProgram:
    """Output of hooks to where git reads it, by way of the program that git has started."""

    def __init__(self, run: HookRun) -> None:
        self._run = run

    async def stdout(self, data: bytes) -> None:
        if (await self._run.write_stdout(data)).error:
            raise ConnectionError("git reads no more")

    async def stderr(self, data: bytes) -> None:
        await self._run.write_stderr(data)


class ToWhoeverListens(ToProgram):
    """The same for what goes on to its end though nobody reads of it any more."""

    async def stdout(self, data: bytes) -> None:
        with suppress(HookGone, ConnectionError):
            await super().stdout(data)

    async def stderr(self, data: bytes) -> None:
        with suppress(HookGone):
            await super().stderr(data)


class Abandonment:
    """Knows the pushes that run, and lets their hooks know when a client has left one."""

    VARIABLE: Final = "GITALY_PUSH"

    def __init__(self) -> None:
        self._pushes: dict[bytes, asyncio.Event] = {}

    @contextmanager
    def push(self) -> Iterator[tuple[Mapping[str, str], asyncio.Event]]:
        """For the length of a push: variables for its git, and the event to set."""
        name = secrets.token_hex(8)
        event = self._pushes[name.encode()] = asyncio.Event()
        try:
            yield {self.VARIABLE: name}, event
        finally:
            del self._pushes[name.encode()]

    def of(self, environment: Mapping[bytes, bytes]) -> asyncio.Event | None:
        """The event of the push that a hook belongs to, if it still runs."""
        return self._pushes.get(environment.get(self.VARIABLE.encode(), b""))


class HookSessions:
    """Handlers for the hook reception."""

    def __init__(
        self,
        storages: Storages,
        manager: HookManager,
        calls: HookCalls,
        abandonment: Abandonment,
    ) -> None:
        self._storages = storages
        self._abandonment = abandonment
        self._manager = manager
        self._calls = calls

    @property
    def handlers(self) -> Mapping[str, HookHandler]:
        """By the names of git's hooks."""
        return {
            "pre-receive": self._handler(
                "PreReceiveHook", PreReceiveHookRequest, self._pre_receive, speaks=True
            ),
            "update": self._handler("UpdateHook", UpdateHookRequest, self._update, speaks=False),
            "post-receive": self._handler(
                "PostReceiveHook", PostReceiveHookRequest, self._post_receive, speaks=True
            ),
            "reference-transaction": self._handler(
                "ReferenceTransactionHook",
                ReferenceTransactionHookRequest,
                self._reference_transaction,
                speaks=False,
            ),
        }

    def _handler(
        self, rpc: str, request: Callable[..., Message], decide: Deciding, *, speaks: bool
    ) -> HookHandler:
        """`speaks`: every refusal tells the pusher its reason, not only one of a custom hook."""

        async def behave(run: HookRun, payload: Payload, call: Call) -> int:
            push = push_of(
                self._storages.existing(payload.repository),
                payload,
                _text(run.environment),
                call.correlation_id,
            )
            async with background(decide(run, push)) as deciding:
                if rpc == "PostReceiveHook":  # GitLab must hear of what has happened, in any case
                    return await _verdict(run, call, deciding, (), speaks=True, limits=False)
                ends = (run.gone, self._abandonment.of(run.environment))
                return await _verdict(run, call, deciding, ends, speaks=speaks)

        return self._calls.handler(
            rpc, lambda _, payload: request(repository=payload.repository), behave
        )

    async def _pre_receive(self, run: HookRun, push: Push) -> None:
        changes = await run.stdin.read_all(MOST_CHANGES_BYTES)
        await self._manager.pre_receive(push, changes, ToProgram(run))

    async def _update(self, run: HookRun, push: Push) -> None:
        if len(run.arguments) != 3:
            raise InvalidRequest("update hook expects exactly three arguments")
        reference, old, new = run.arguments
        values = old.decode(errors="replace"), new.decode(errors="replace")
        await self._manager.update(push, reference, *values, ToProgram(run))

    async def _post_receive(self, run: HookRun, push: Push) -> None:
        changes = await run.stdin.read_all(MOST_CHANGES_BYTES)
        await self._manager.post_receive(push, changes, ToWhoeverListens(run))

    async def _reference_transaction(self, run: HookRun, push: Push) -> None:
        state = run.arguments[0].decode(errors="replace") if run.arguments else ""
        if len(run.arguments) != 1 or state not in STATES:
            raise InvalidRequest("invalid hook state")
        if state != "preparing":  # the reference's program does not ask about it either
            changes = await run.stdin.read_all(MOST_CHANGES_BYTES)
            await self._manager.reference_transaction(push, state, changes)


async def _verdict(
    run: HookRun,
    call: Call,
    deciding: "asyncio.Task[None]",
    ends: Sequence[asyncio.Event | None],
    *,
    speaks: bool,
    limits: bool = True,
) -> int:
    """The exit status. `limits`: who is asked too often is an error of the node.

    Raises Cancelled when nobody waits for it any more, as one of `ends` says: git has given up on
    its hook, or the client on its push. Git shall then clean up, which it does after a refusal.
    """
    async with AsyncExitStack() as stack:
        awaited = {deciding}
        for event in filter(None, ends):
            awaited.add(await stack.enter_async_context(background(_when(event))))
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not deciding.done():
            raise Cancelled("context canceled")
    try:
        deciding.result()
    except CustomHookFailed as error:
        call.refusal = error.message
        return error.exit.number
    except HookGone:
        raise
    except NodeError as error:
        is_told = speaks and not (limits and isinstance(error, ResourceExhausted))
        if not (is_told or isinstance(error, HookTimedOut)):
            raise
        call.refusal = error.message
        await run.write_stderr(error.message.encode())
        return 1
    return 0


async def _when(event: asyncio.Event) -> None:
    await event.wait()


def _text(environment: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="surrogateescape"): value.decode(errors="surrogateescape")
        for name, value in environment.items()
    }
