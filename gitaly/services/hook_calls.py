"""Hook programs of our own as calls of HookService: the same log line and metrics as by gRPC."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from google.protobuf.message import Message

from gitaly.git import Account
from gitaly.hooks import HookHandler, HookRun, Payload
from gitaly.rpc import Call, Method
from gitaly.rpc.status import OK
from gitaly.rpc.steps import CORRELATION_ID, Steps

FAILED: Final = b"error executing git hook\n"
EXHAUSTED: Final = b"error resource exhausted, please try again later\n"
PACK_OBJECTS_RPC: Final = "PackObjectsHookWithSidechannel"
CLIENT_NAME: Final = "gitaly-hooks"

# Decides how a hook ends: its exit status. A NodeError is for the log; the program then says no
# more than that it failed, as with the reference.
HookBehaviour = Callable[[HookRun, Payload, Call], Awaitable[int]]
# The message that a hook program of the reference would send; names the repository in the log.
RequestOf = Callable[[HookRun, Payload], Message]


class HookCalls:
    """Makes handlers for the hook reception out of what decides."""

    def __init__(self, steps: Steps, methods: Iterable[Method]) -> None:
        self._steps = steps
        self._methods: Mapping[str, Method] = {
            method.name: method for method in methods if method.service == "gitaly.HookService"
        }

    def handler(self, rpc: str, request_of: RequestOf, behaviour: HookBehaviour) -> HookHandler:
        """`behaviour`, counted and logged as calls of an RPC of HookService, "UpdateHook"."""
        method = self._methods[rpc]

        async def handle(run: HookRun, payload: Payload) -> int:
            status = 1

            async def decide(call: Call) -> None:
                nonlocal status
                status = await behaviour(run, payload, call)

            call = _call_of(method, run, payload, request_of(run, payload))
            await self._steps.around_hook(decide)(call)
            if call.outcome.code is OK:
                return status
            await run.write_stderr(FAILED + _hint(call))
            return 1

        return handle


def _hint(call: Call) -> bytes:
    """What helps whoever reads that a hook failed; the reasons are in the log."""
    code = call.outcome.code.name
    if code == "RESOURCE_EXHAUSTED" and call.method.name == PACK_OBJECTS_RPC:
        return EXHAUSTED
    return f"correlation id: {call.correlation_id}\n".encode() if code == "INTERNAL" else b""


def _call_of(method: Method, run: HookRun, payload: Payload, request: Message) -> Call:
    metadata = {"client_name": CLIENT_NAME, CORRELATION_ID: run.correlation_id}
    user = payload.user_details
    if user is not None:
        metadata |= {
            "user_id": user.userid,
            "username": user.username,
            "remote_ip": user.remote_ip,
        }
    return Call(
        method=method,
        metadata=metadata,
        all_metadata=tuple(metadata.items()),
        started=time.monotonic(),
        account=Account(grpc_service=method.service, grpc_method=method.name),
        first_request=request,
        received_messages=1,
        received_bytes=request.ByteSize(),
        sent_messages=1,
    )
