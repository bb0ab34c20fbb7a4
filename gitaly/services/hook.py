"""HookService: hooks of a push as the reference's own hook program asks about them.

Served on the internal socket and, as there, on all others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from gitaly._pb.hook_pb2 import (
    PostReceiveHookRequest,
    PostReceiveHookResponse,
    PreReceiveHookRequest,
    PreReceiveHookResponse,
    ProcReceiveHookRequest,
    ProcReceiveHookResponse,
    ReferenceTransactionHookRequest,
    ReferenceTransactionHookResponse,
    UpdateHookRequest,
    UpdateHookResponse,
)
from gitaly._pb.shared_pb2 import ExitStatus, Repository
from gitaly.errors import Internal, InvalidRequest, NodeError, ResourceExhausted, prefixed
from gitaly.git.transfer import MESSAGE_BYTES
from gitaly.hooks import VARIABLE, Payload
from gitaly.hooks.custom import CustomHookFailed
from gitaly.hooks.manager import HookManager
from gitaly.hooks.output import Output
from gitaly.hooks.push import Push, push_of
from gitaly.rpc import Call
from gitaly.services.streams import first_request, inputs
from gitaly.storage import Storages
from gitaly.tasks import background

STATES: Final = {
    ReferenceTransactionHookRequest.PREPARED: "prepared",
    ReferenceTransactionHookRequest.COMMITTED: "committed",
    ReferenceTransactionHookRequest.ABORTED: "aborted",
    ReferenceTransactionHookRequest.PREPARING: "preparing",
}
R = TypeVar("R", PreReceiveHookResponse, UpdateHookResponse, PostReceiveHookResponse)
Work = Callable[[Output], Coroutine[Any, Any, None]]


class HookServicer:
    """What git's hooks want to know, over gRPC."""

    SERVICE = "gitaly.HookService"

    def __init__(self, storages: Storages, manager: HookManager) -> None:
        self._storages = storages
        self._manager = manager

    async def PreReceiveHook(
        self, requests: AsyncIterator[PreReceiveHookRequest], call: Call
    ) -> AsyncIterator[PreReceiveHookResponse]:
        first = await first_request(requests)
        push = self._push(
            first.repository, first.environment_variables, call, first.git_push_options
        )
        changes = await _joined(first.stdin, inputs(requests, "stdin"))

        async def work(output: Output) -> None:
            await self._manager.pre_receive(push, changes, output)

        async for response in _answered(PreReceiveHookResponse, work):
            yield response

    async def PostReceiveHook(
        self, requests: AsyncIterator[PostReceiveHookRequest], call: Call
    ) -> AsyncIterator[PostReceiveHookResponse]:
        first = await first_request(requests)
        push = self._push(
            first.repository, first.environment_variables, call, first.git_push_options
        )
        changes = await _joined(first.stdin, inputs(requests, "stdin"))

        async def work(output: Output) -> None:
            await self._manager.post_receive(push, changes, output)

        async for response in _answered(PostReceiveHookResponse, work, limits=False):
            yield response

    async def UpdateHook(
        self, request: UpdateHookRequest, call: Call
    ) -> AsyncIterator[UpdateHookResponse]:
        push = self._push(request.repository, request.environment_variables, call, ())

        async def work(output: Output) -> None:
            await self._manager.update(
                push, request.ref, request.old_value, request.new_value, output
            )

        async for response in _answered(UpdateHookResponse, work, speaks=False):
            yield response

    async def ReferenceTransactionHook(
        self, requests: AsyncIterator[ReferenceTransactionHookRequest], call: Call
    ) -> AsyncIterator[ReferenceTransactionHookResponse]:
        first = await first_request(requests)
        push = self._push(first.repository, first.environment_variables, call, ())
        state = STATES.get(first.state)
        if state is None:
            raise InvalidRequest("invalid hook state")
        changes = await _joined(first.stdin, inputs(requests, "stdin"))
        await self._manager.reference_transaction(push, state, changes)
        yield ReferenceTransactionHookResponse(exit_status=ExitStatus(value=0))

    async def ProcReceiveHook(
        self, requests: AsyncIterator[ProcReceiveHookRequest], _: Call
    ) -> AsyncIterator[ProcReceiveHookResponse]:
        await first_request(requests)
        # Only a node with a write-ahead log lets this hook do the work of receive-pack.
        raise Internal("creating handler: no transaction found in payload")
        yield ProcReceiveHookResponse()

    def _push(
        self,
        repository: Repository,
        environment: Sequence[str],
        call: Call,
        push_options: Sequence[str],
    ) -> Push:
        found = self._storages.existing(repository)
        variables = dict(entry.partition("=")[::2] for entry in environment)
        with prefixed("extracting hooks payload"):
            try:
                payload = Payload.decode(variables.get(VARIABLE))
            except NodeError as error:
                raise Internal(error.message) from error
        return push_of(found, payload, variables, call.correlation_id, push_options)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> bytes:
    return b"".join([first, *[piece async for piece in rest]])


class _Pieces:
    """Hook output on its way into a stream of messages; one piece at a time."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(maxsize=1)

    async def stdout(self, data: bytes) -> None:
        await self._put("stdout", data)

    async def stderr(self, data: bytes) -> None:
        await self._put("stderr", data)

    async def _put(self, stream: str, data: bytes) -> None:
        for start in range(0, len(data), MESSAGE_BYTES):
            await self.queue.put((stream, data[start : start + MESSAGE_BYTES]))


async def _answered(
    response: type[R], work: Work, *, speaks: bool = True, limits: bool = True
) -> AsyncIterator[R]:
    """The output of the work as it comes, then its exit status.

    `speaks`: a refusal that is no custom hook's is told on stderr; else it is the call's error.
    `limits`: to be asked too often is the call's error, too.
    """
    pieces = _Pieces()
    async with background(work(pieces)) as working:
        while not (working.done() and pieces.queue.empty()):
            async with background(pieces.queue.get()) as getting:
                await asyncio.wait({working, getting}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    continue
                stream, piece = getting.result()
            yield response(stdout=piece) if stream == "stdout" else response(stderr=piece)
        try:
            working.result()
        except CustomHookFailed as error:
            yield response(exit_status=ExitStatus(value=error.exit.number))
            return
        except NodeError as error:
            if not speaks or (limits and isinstance(error, ResourceExhausted)):
                raise
            text = error.message.encode()
            for start in range(0, len(text) or 1, MESSAGE_BYTES):
                yield response(
                    stderr=text[start : start + MESSAGE_BYTES], exit_status=ExitStatus(value=1)
                )
            return
    yield response(exit_status=ExitStatus(value=0))
