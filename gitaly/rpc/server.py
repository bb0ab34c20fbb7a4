"""From servicers to the routes of a gRPC server: every method of the contract, each behind the same
steps."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from gitaly.errors import Unimplemented
from gitaly.rpc.call import Call
from gitaly.rpc.contract import Method
from gitaly.rpc.core import Route
from gitaly.rpc.exchange import RunningCall
from gitaly.rpc.steps import Handler, Steps


def make_routes(
    methods: Iterable[Method],
    servicers: Iterable[Any],  # objects with SERVICE and a method per RPC
    steps: Steps,
) -> Mapping[str, Route]:
    """The route of every method, by its path; one without a servicer answers UNIMPLEMENTED.

    Several servicers may share a service, each with methods of its own. A servicer's method takes
    (request, call), or (iterator of requests, call) where the client streams; it is a coroutine
    function that returns the response, or an asynchronous generator of responses where the server
    streams. That may yield a list of messages that are at hand together, which is cheaper, and
    messages that are encoded. Raises ValueError if two servicers have the same RPC.
    """
    servicers = list(servicers)
    routes: dict[str, Route] = {}
    for method in methods:
        behaviour = _behaviour(method, servicers)
        inner = _serve(method, behaviour) if behaviour is not None else _refuse
        routes[method.path] = Route(method=method, handler=steps.around(inner, method))
    return routes


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


def _serve(method: Method, behaviour: Callable[..., Any]) -> Handler:
    """The innermost handler: parse, call the servicer, send."""

    async def handler(call: Call) -> None:
        assert isinstance(call, RunningCall)
        if method.has_client_stream:
            argument: Message | AsyncIterator[Message] = call.requests()
        else:
            argument = call.parse(call.exchange.message())
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
