"""From servicers to a gRPC server: every method of the contract, each behind the same steps."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from gitaly.errors import Cancelled, Internal, Unimplemented
from gitaly.git import Account
from gitaly.rpc.call import Call, Connection
from gitaly.rpc.contract import Method
from gitaly.rpc.cost import cost_metadata
from gitaly.rpc.status import OK
from gitaly.rpc.steps import Handler, Steps

if TYPE_CHECKING:  # generic in the type stubs only
    Context = aio.ServicerContext[bytes, bytes]
    MethodHandler = grpc.RpcMethodHandler[bytes, bytes]
else:
    Context = MethodHandler = Any
Response = Message | bytes  # bytes: it is encoded already
FindConnection = Callable[[str], Connection | None]

MEBIBYTE: Final = 1 << 20
PENDING_CALLS: Final = 1 << 20
# Clients of Gitaly ping every 20 s, also on idle connections; the core's own limits would answer
# that with GOAWAY "too_many_pings". Source of the values: internal/gitaly/server/server.go.
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 4 * MEBIBYTE),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 16 * MEBIBYTE),
    ("grpc.absolute_max_metadata_size", 16 * MEBIBYTE),
    ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.so_reuseport", 0),
    # Calls that nobody has looked at yet. Beyond 1000 the core would cancel some by chance, and
    # without a word; who has to wait or to go is for our limits to say.
    ("grpc.server.max_pending_requests", PENDING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
)


class Router(grpc.GenericRpcHandler):
    """Finds the handler of a method path."""

    def __init__(self, handlers: Mapping[str, MethodHandler]) -> None:
        self._handlers = handlers

    def service(self, details: grpc.HandlerCallDetails) -> MethodHandler | None:
        """The handler; None makes the core answer UNIMPLEMENTED."""
        return self._handlers.get(details.method)


def make_handlers(
    methods: Iterable[Method],
    servicers: Iterable[Any],  # objects with SERVICE and a method per RPC
    steps: Steps,
    find_connection: FindConnection,
) -> Router:
    """Register every method; one without a servicer answers UNIMPLEMENTED and says so.

    Several servicers may share a service, each with methods of its own. A servicer's method takes
    (request, call), or (iterator of requests, call) where the client streams; it is a coroutine
    function that returns the response, or an asynchronous generator of responses where the server
    streams. That may yield a list of messages that are at hand together, which is cheaper, and
    messages that are encoded. Raises ValueError if two servicers have the same RPC.
    """
    servicers = list(servicers)
    handlers: dict[str, MethodHandler] = {}
    for method in methods:
        behaviour = _behaviour(method, servicers)
        inner = _serve(method, behaviour) if behaviour is not None else _refuse
        handlers[method.path] = _grpc_handler(method, steps.around(inner, method), find_connection)
    return Router(handlers)


def _behaviour(method: Method, servicers: Iterable[Any]) -> Callable[..., Any] | None:
    """The servicer's method for an RPC; None if nobody has it."""
    found = [
        getattr(servicer, method.name)
        for servicer in servicers
        if method.service == servicer.SERVICE and hasattr(servicer, method.name)
    ]
    if len(found) > 1:
        raise ValueError(f"{method.path} is served twice")
    return found[0] if found else None


class _RunningCall(Call):
    """A call together with the gRPC context that only this module may touch."""

    __slots__ = ("context", "raw")
    context: Context
    raw: bytes | AsyncIterable[bytes]

    async def requests(self) -> AsyncIterator[Message]:
        """The client's messages, parsed and counted one by one."""
        assert not isinstance(self.raw, bytes)
        async for raw in self.raw:
            is_first = self.first_request is None
            request = self.parse(raw)
            if is_first and self.admit is not None:
                await self.admit(request)
            yield request

    def parse(self, raw: bytes) -> Message:
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
        """Send one message of a stream, or several that are at hand.

        Raises Cancelled if the client went away meanwhile.
        """
        try:
            if isinstance(response, list):
                await self._send_together(response)
            else:
                await self.context.write(self.pack(response))
        except aio.InternalError as error:  # as a rule we are cancelled before the core says so
            raise Cancelled("context canceled") from error

    async def _send_together(self, responses: list[Response]) -> None:
        """Each as a message; those between the first and the last may wait. See `rpc.corking`."""
        last = len(responses) - 1
        for place, response in enumerate(responses):
            if self.sent_messages and place < last:
                self.context.disable_next_message_compression()
            await self.context.write(self.pack(response))

    def pack(self, response: Response) -> bytes:
        raw = response if isinstance(response, bytes) else response.SerializeToString()
        self.sent_messages += 1
        self.sent_bytes += len(raw)
        return raw


def _serve(method: Method, behaviour: Callable[..., Any]) -> Handler:
    """The innermost handler: parse, call the servicer, send."""

    async def handler(call: Call) -> None:
        assert isinstance(call, _RunningCall)
        if method.has_client_stream:
            argument: Message | AsyncIterator[Message] = call.requests()
        else:
            assert isinstance(call.raw, bytes)
            argument = call.parse(call.raw)
            if call.admit is not None:
                await call.admit(argument)
        if not method.has_server_stream:
            call.reply = call.pack(await behaviour(argument, call))
            return
        responses = behaviour(argument, call)
        try:
            async for response in responses:
                await call.send(response)
        finally:
            await responses.aclose()

    return handler


async def _refuse(call: Call) -> None:
    raise Unimplemented(f"{call.method.service}/{call.method.name} is not built in this version")


def _grpc_handler(
    method: Method, handler: Handler, find_connection: FindConnection
) -> MethodHandler:
    async def serve(raw: bytes | AsyncIterable[bytes], context: Context) -> bytes:
        call = _begin(method, raw, context, find_connection)
        await handler(call)
        if call.outcome.code is not OK:
            await context.abort(
                call.outcome.code,
                call.outcome.message,
                (*call.outcome.trailing_metadata(), *cost_metadata(call), *call.trailers),
            )
        context.set_trailing_metadata((*cost_metadata(call), *call.trailers))
        return call.reply

    async def serve_stream(raw: bytes | AsyncIterable[bytes], context: Context) -> None:
        await serve(raw, context)

    make: dict[str, Callable[..., MethodHandler]] = {
        "unary": grpc.unary_unary_rpc_method_handler,
        "server_stream": grpc.unary_stream_rpc_method_handler,
        "client_stream": grpc.stream_unary_rpc_method_handler,
        "bidi_stream": grpc.stream_stream_rpc_method_handler,
    }
    behaviour: Callable[..., Awaitable[Any]] = serve_stream if method.has_server_stream else serve
    return make[method.kind](behaviour)  # bytes in, bytes out: messages are ours to parse


def _begin(
    method: Method,
    raw: bytes | AsyncIterable[bytes],
    context: Context,
    find_connection: FindConnection,
) -> _RunningCall:
    now = time.monotonic()
    all_metadata = tuple(context.invocation_metadata() or ())
    left = context.time_remaining()
    call = _RunningCall(
        method=method,
        metadata={k: v for k, v in reversed(all_metadata) if isinstance(v, str)},
        all_metadata=all_metadata,
        started=now,
        deadline=None if left is None else now + left,
        connection=find_connection(context.peer()),
        account=Account(grpc_service=method.service, grpc_method=method.name),
    )
    call.context = context
    call.raw = raw
    return call
