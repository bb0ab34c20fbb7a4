"""A push or an archive: git's own client at our standard streams, its bytes in gRPC messages.

The node says the first word of a push; that of an archive is the client's.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc

from gitaly._pb.ssh_pb2 import (
    SSHReceivePackRequest,
    SSHReceivePackResponse,
    SSHUploadArchiveRequest,
    SSHUploadArchiveResponse,
)
from gitaly.client.calls import failed
from gitaly.client.connection import NodeConnection
from gitaly.client.standard_streams import BlockingInput, write_all

RECEIVE_PACK: Final = "/gitaly.SSHService/SSHReceivePack"
UPLOAD_ARCHIVE: Final = "/gitaly.SSHService/SSHUploadArchive"
MESSAGE_BYTES: Final = 128 * 1024  # as the reference's clients send; larger ones cost no less


async def receive_pack(
    node: NodeConnection,
    request: SSHReceivePackRequest,
    on_answer: Callable[[], None] = lambda: None,
) -> int:
    """Serve a push; the exit status of the node's git.

    `on_answer` is called, in a thread, before git's first byte, and before anything is read.
    Raises CallFailed, OutputClosed.
    """
    call = node.channel.stream_stream(
        RECEIVE_PACK,
        request_serializer=SSHReceivePackRequest.SerializeToString,
        response_deserializer=SSHReceivePackResponse.FromString,
    )
    duplex = _Duplex(request, lambda data: SSHReceivePackRequest(stdin=data), on_answer)
    return await duplex.run(call, node)


async def upload_archive(node: NodeConnection, request: SSHUploadArchiveRequest) -> int:
    """Serve git archive --remote; the exit status of the node's git.

    Raises CallFailed, OutputClosed.
    """
    call = node.channel.stream_stream(
        UPLOAD_ARCHIVE,
        request_serializer=SSHUploadArchiveRequest.SerializeToString,
        response_deserializer=SSHUploadArchiveResponse.FromString,
    )
    duplex = _Duplex(request, lambda data: SSHUploadArchiveRequest(stdin=data), lambda: None)
    duplex.may_read.set()
    return await duplex.run(call, node)


class _Duplex:
    """One call of a stream in both directions. grpc reads our requests in a thread of its own."""

    def __init__(
        self,
        first: Any,  # generated messages have no common type with `stdin`
        wrap: Callable[[bytes], Any],
        on_answer: Callable[[], None],
    ) -> None:
        self._first = first
        self._wrap = wrap
        self._on_answer = on_answer
        self._input = BlockingInput(0)
        self.may_read = threading.Event()

    async def run(
        self, method: "grpc.StreamStreamMultiCallable[Any, Any]", node: NodeConnection
    ) -> int:
        call = method(self._requests(), metadata=tuple(node.metadata()))
        try:
            return await asyncio.to_thread(self._take_answers, call)
        finally:
            call.cancel()
            self._input.interrupt()
            self.may_read.set()

    def _requests(self) -> Iterator[Any]:
        yield self._first
        self.may_read.wait()
        while data := self._input.read(MESSAGE_BYTES):
            yield self._wrap(data)

    def _take_answers(self, call: Any) -> int:
        status = 0
        try:
            for answer in call:
                if answer.stdout and not self.may_read.is_set():
                    self._on_answer()
                    self.may_read.set()
                write_all(1, answer.stdout)
                write_all(2, answer.stderr)
                if answer.HasField("exit_status"):
                    status = answer.exit_status.value
        except grpc.RpcError:
            raise failed(call) from None
        return status
