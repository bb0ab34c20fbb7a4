"""One call on a stream: its messages in, its messages and its status out, its task between."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from gitaly.errors import Cancelled, Internal, NodeError, Unimplemented
from gitaly.git import Account
from gitaly.rpc import answer_fields
from gitaly.rpc.call import Call, Connection
from gitaly.rpc.contract import Method
from gitaly.rpc.cost import cost_metadata
from gitaly.rpc.framing import ENCODINGS, Cutter, prefix
from gitaly.rpc.request_head import RequestHead
from gitaly.rpc.status import OK, Outcome
from gitaly.transport.http2 import Http2Connection, Stream

Response = Message | bytes  # bytes: it is encoded already
CANCELLED: Final = "context canceled"
LATE: Final = Outcome(
    code=grpc.StatusCode.DEADLINE_EXCEEDED,
    message="context deadline exceeded",
    log_error="context deadline exceeded",
)
BUG: Final = Outcome(code=grpc.StatusCode.INTERNAL, message="internal error")
# Messages are copied beside their prefixes, which is cheaper than buffers of their own, but for a
# single one that is larger than this.
FEW_BYTES: Final = 16_384


class RunningCall(Call):
    """A call together with its exchange, which only this module and `server` may touch."""

    __slots__ = ("exchange",)
    exchange: "Exchange"

    async def requests(self) -> AsyncIterator[Message]:
        """The client's messages, parsed and counted one by one."""
        while (raw := await self.exchange.next_message()) is not None:
            is_first = self.first_request is None
            request = self.parse(raw)
            if is_first and self.admit is not None:
                await self.admit(request)
            yield request

    def parse(self, raw: bytes) -> Message:
        """Raises Internal."""
        self.received_messages += 1
        self.received_bytes += len(raw)
        try:
            request = self.method.request_class.FromString(raw)
        except DecodeError as error:
            raise Internal(f"grpc: error unmarshalling request: {error}") from error
        if self.first_request is None:
            self.first_request = request
        return request

    async def send(self, response: Response | list[Response]) -> None:
        """Send one message of a stream, or several that are at hand, and wait until there is room
        for the next one. Raises Cancelled if the client went away meanwhile."""
        if not isinstance(response, list):
            self.exchange.put(self.pack(response))
        elif response:
            self.exchange.put(*map(self.pack, response))
        await self.exchange.flush()

    def pack(self, response: Response) -> bytes:
        """A message as it is sent, counted."""
        raw = response if isinstance(response, bytes) else response.SerializeToString()
        self.sent_messages += 1
        self.sent_bytes += len(raw)
        return raw


class Owner(Protocol):
    """Who knows which exchanges run."""

    def began(self, exchange: "Exchange") -> None:
        """It has a task."""

    def ended(self, exchange: "Exchange") -> None:
        """Its task is over."""


class Exchange:
    """One call on a stream, from its header fields on."""

    def __init__(
        self,
        connection: Http2Connection,
        stream: Stream,
        head: RequestHead,
        *,
        method: Method,
        handler: Callable[[Call], Awaitable[None]],
        came_on: Connection | None,
        owner: Owner,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._owner = owner
        self._handler = handler
        now = time.monotonic()
        timeout = head.timeout_seconds
        self._call = RunningCall(
            method=method,
            metadata=head.metadata,
            all_metadata=head.all_metadata,
            started=now,
            deadline=None if timeout is None else now + timeout,
            connection=came_on,
            account=Account(grpc_service=method.service, grpc_method=method.name),
        )
        self._call.exchange = self
        self._messages: deque[bytes] = deque()
        self._error: NodeError | None = None  # of the request's body
        self._is_end = False
        self._unread = 0  # bytes of the body in messages that nobody has taken
        # A handler may read and write at once, each in a task of its own.
        self._reader: asyncio.Future[None] | None = None  # waits for a message
        self._writer: asyncio.Future[None] | None = None  # waits for room
        self._has_begun = False
        self._is_over = False
        self._has_headers = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        encoding = head.encoding
        if encoding not in ENCODINGS:
            encoding = ENCODINGS[0]
            self._error = Unimplemented(
                f'grpc: Decompressor is not installed for grpc-encoding "{head.encoding}"'
            )
        self._cutter = Cutter(encoding)
        if timeout is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout, self.cancel, LATE)
        if method.has_client_stream or self._error is not None:
            self._begin()

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._owner.began(self)

    # The user of the stream

    def data_received(self, data: bytes, *, is_end: bool) -> None:
        if self._is_over or self._error is not None:
            return
        self._is_end = is_end
        try:
            self._messages += self._cutter.feed(data)
            if is_end and not self._cutter.is_between:
                raise Internal("grpc: the client has sent half a message")
        except NodeError as error:
            self._error = error
        if self._call.method.has_client_stream:
            self._unread += len(data)
            self._credit()
            _wake(self._reader)
        else:
            self._connection.consumed(self._stream, len(data))
            self._unary_data()

    def _unary_data(self) -> None:
        if self._error is None and (len(self._messages) > 1 or self._is_end > len(self._messages)):
            self._error = Internal("grpc: the client has sent not just one message")
        if (self._is_end or self._error is not None) and self._task is None:
            self._begin()

    def _credit(self) -> None:
        """What nobody waits for yet keeps the window small."""
        if self._unread and not self._messages:
            self._connection.consumed(self._stream, self._unread)
            self._unread = 0

    def stream_lost(self) -> None:
        self._is_over = True
        self._break_off()

    def stream_writable(self) -> None:
        _wake(self._writer)

    # The call

    async def _run(self) -> None:
        self._has_begun = True
        call = self._call
        try:
            await self._handler(call)
        except BaseException:
            if call.outcome.code is OK:
                call.outcome = BUG
            raise
        finally:
            self._finish()

    def cancel(self, outcome: Outcome) -> None:
        """Stop it. What the client is told is up to the handler, if it has begun."""
        if not self._has_begun:
            self._call.outcome = outcome
        self._break_off()

    def _break_off(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if not self._has_begun:  # nor will it: the end is not its own to tell
            self._finish()

    def message(self) -> bytes:
        """The one of a request that is no stream. Raises NodeError."""
        if self._error is not None:
            raise self._error
        return self._messages[0]

    async def next_message(self) -> bytes | None:
        """The next one of a stream; None: the client has sent its last. Raises NodeError."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._is_end:
                return None
            # Of a client that is gone nothing comes, and the handler is cancelled: raised here, an
            # error could reach it first, and look as if something had failed.
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        raw = self._messages.popleft()
        self._credit()
        if self._unread == 0:
            self._connection.flush()
        return raw

    def put(self, *messages: bytes) -> None:
        """Messages of the answer; they go with the next `flush`. Raises Cancelled."""
        if self._is_over:
            raise Cancelled(CANCELLED)
        if not self._has_headers:
            self._has_headers = True
            self._connection.send_headers(self._stream, answer_fields.FIRST)
        if len(messages) == 1 and len(messages[0]) > FEW_BYTES:
            pieces: tuple[bytes, ...] = (prefix(len(messages[0])), messages[0])
        else:
            pieces = (b"".join([x for raw in messages for x in (prefix(len(raw)), raw)]),)
        self._connection.send_data(self._stream, pieces)

    async def flush(self) -> None:
        """Send what was put, and wait until there is room for more. Raises Cancelled."""
        self._connection.flush()
        while not self._is_over and self._connection.must_wait(self._stream):
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if self._is_over:
            raise Cancelled(CANCELLED)

    def _finish(self) -> None:
        """The end of the answer."""
        self._owner.ended(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._is_over:
            return
        call, outcome = self._call, self._call.outcome
        if outcome.code is OK and not call.method.has_server_stream:
            self.put(call.reply)
        self._is_over = True
        details = outcome.trailing_metadata() if outcome.code is not OK else ()
        block = answer_fields.last(
            outcome.code,
            outcome.message,
            (*details, *cost_metadata(call), *call.trailers),
            self._connection.peer_list_bytes,
        )
        if not self._has_headers:
            block = answer_fields.only(block)
        self._connection.send_trailers(self._stream, block)
        self._connection.flush()
        self._connection.settled(self._stream)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
