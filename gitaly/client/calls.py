"""One call and how it ends, on grpc's blocking API.

Not on its asyncio API: that one turns the status of a node that refuses a stream at once into
"Internal error from Core", more often than not (grpc/grpc#36066). Nothing here waits in a thread
for an answer to a single request; only streams have threads.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from gitaly.errors import NodeError

M = TypeVar("M", bound=Message)
Metadata = Sequence[tuple[str, str]]


class CallFailed(NodeError):
    """The node answered with an error, or no more; the message is the node's."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def go_text(self) -> str:
        """As clients written in Go print it, for those who look for it in logs."""
        return f"rpc error: code = {_go_name(self.code)} desc = {self.message}"


def failed(call: grpc.Call) -> CallFailed:
    """The error of a call that has ended with one."""
    return CallFailed(call.code() or grpc.StatusCode.UNKNOWN, call.details() or "")


async def unary(
    channel: grpc.Channel, method: str, request: Message, answer: type[M], metadata: Metadata
) -> M:
    """Ask once. Raises CallFailed; cancelled with the task that waits."""
    multi = channel.unary_unary(
        method,
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and so is who waited
            loop.call_soon_threadsafe(ended.set)

    call = multi.future(request, metadata=tuple(metadata))
    call.add_done_callback(wake)
    try:
        await ended.wait()
    finally:
        call.cancel()
    if call.code() is not grpc.StatusCode.OK:
        raise failed(call)
    return call.result()


def _go_name(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return "OK" if code is grpc.StatusCode.OK else code.name.title().replace("_", "")
