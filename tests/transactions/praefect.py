"""Praefect's side of votes: connections to nodes, and the server that they vote at.

It speaks the real protocol, over yamux on real sockets. Quorums are computed as Praefect does, or
a test says what becomes of each vote.
"""

import asyncio
import base64
import itertools
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import grpc
from google.protobuf.message import Message
from grpc import aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gitaly._pb.transaction_pb2 import (
    StopTransactionRequest,
    StopTransactionResponse,
    VoteTransactionRequest,
    VoteTransactionResponse,
)
from gitaly.client.calls import CallFailed, unary
from gitaly.transport.mux import MuxSession, MuxStream
from gitaly.transport.newcomer import MAGIC
from gitaly.transport.relay import Relay
from gitaly.transport.stream_socket import StreamSocket
from gitaly.transport.wire import SocketWire
from gitaly.transport.yamux_frames import Limits
from tests.faults.nodes import HEALTH
from tests.transactions.quorum import CANCELED, Quorum, Round

HOLD = "HOLD"  # as a scripted result: no answer until the call of the node is over
Metadata = list[tuple[str, str]]


@dataclass(frozen=True)
class Cast:
    """A vote as Praefect has got it."""

    node: str
    phase: str
    digest: str
    transaction: int = 0
    metadata: tuple[tuple[str, str], ...] = field(default=(), compare=False)


class Node(Protocol):
    """What Praefect connects to."""

    def connect(self, kind: str) -> socket.socket: ...


class Link:
    """A multiplexed connection to one node."""

    def __init__(self, node: Node, name: str, votes_at: str) -> None:
        self.name = name  # of the node, in votes
        connected = node.connect("tcp")
        connected.setblocking(False)
        wire = SocketWire(connected)
        wire.write((MAGIC,))
        self.session = MuxSession(wire, is_client=True, limits=Limits(), on_stream=self._opened)
        self.streams = 0
        self._votes_at = votes_at
        self._relays: list[Relay] = []
        own = f"praefect-{os.getpid()}-{secrets.token_hex(8)}"
        self._core = StreamSocket(self.session, f"\0{own}")
        self._core.open()
        self.channel = grpc.insecure_channel(
            f"unix-abstract:{own}", [("grpc.use_local_subchannel_pool", 1)]
        )
        self.session.start()

    def _opened(self, stream: MuxStream) -> None:
        """The node opens a stream to vote on."""
        self.streams += 1
        self.session.accept(stream)
        near = socket.socket(socket.AF_UNIX)
        near.connect(self._votes_at)
        near.setblocking(False)
        relay = Relay()
        self._relays.append(relay)
        relay.couple(stream, SocketWire(near))

    async def call(
        self, path: str, request: Message, answer: type[Message], metadata: Metadata
    ) -> tuple[str, str]:
        """Code and message."""
        try:
            async with asyncio.timeout(30):
                await unary(self.channel, path, request, answer, metadata)
        except CallFailed as error:
            return error.code.name, error.message
        return "OK", ""

    async def ping(self) -> None:
        """Let the node know us."""
        done = await self.call(HEALTH, HealthCheckRequest(), HealthCheckResponse, [])
        assert done == ("OK", "")

    def vanish(self) -> None:
        """Be gone, without a word."""
        self.session.wire.abort()

    async def aclose(self) -> None:
        await asyncio.to_thread(self.channel.close)
        self._core.close()
        self._core.abort_relays()
        for relay in self._relays:
            relay.abort()
        self.session.close()


class Praefect:
    """Transactions, and who votes on them."""

    def __init__(self) -> None:
        self.votes: list[Cast] = []
        self.stops: list[int] = []
        self.withdrawn: list[str] = []  # nodes that did not wait for an answer
        self.script: dict[int, str] = {}  # number of a vote, from 1: what becomes of it
        self.silent: tuple[str, str] | None = None  # node and phase of votes without an answer
        self.otherwise: str | None = None  # what becomes of other votes; None: as the quorum says
        self.status: tuple[grpc.StatusCode, str] | None = None  # of every vote
        self.links: list[Link] = []
        self._name = f"praefect-votes-{os.getpid()}-{secrets.token_hex(8)}"
        self._ids = itertools.count(7)
        self._quorums: dict[int, Quorum] = {}
        self._left: set[tuple[int, str]] = set()
        self._news = asyncio.Condition()

    def connect(self, node: Node, name: str) -> Link:
        link = Link(node, name, f"\0{self._name}")
        self.links.append(link)
        return link

    def begin(self, nodes: Sequence[str]) -> int:
        """A transaction of nodes, the primary first; its id."""
        number = next(self._ids)
        self._quorums[number] = Quorum(nodes)
        return number

    def forget(self, number: int) -> None:
        del self._quorums[number]

    async def leave(self, number: int, node: str) -> None:
        """The call of a node is over, and failed."""
        self._quorums[number].leave(node)
        self._left.add((number, node))
        await self._tell()

    async def stop(self, number: int) -> None:
        """What StopTransaction does."""
        self._quorums[number].stop()
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, count: int) -> None:
        """So many votes were cast."""
        await self.until_so(lambda: len(self.votes) >= count)

    async def until_so(self, condition: Callable[[], bool]) -> None:
        """So it is with the votes that were cast."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(condition)

    # gitaly.RefTransaction

    async def _vote(self, request: VoteTransactionRequest, context: Any) -> Message:
        assert not request.HasField("repository")
        metadata = tuple((k, v) for k, v in context.invocation_metadata() if isinstance(v, str))
        phase = VoteTransactionRequest.Phase.Name(request.phase).removesuffix("_PHASE")
        digest = request.reference_updates_hash
        self.votes.append(Cast(request.node, phase, digest.hex(), request.transaction_id, metadata))
        scripted = self.script.get(len(self.votes), self.otherwise)
        if self.silent == (request.node, phase):
            scripted = HOLD
        await self._tell()
        if self.status is not None:
            await context.abort(*self.status)
        if scripted == HOLD:
            await self._held((request.transaction_id, request.node))
            await context.abort(grpc.StatusCode.CANCELLED, "transaction has been canceled")
        if scripted is not None:
            return _answer(scripted)
        quorum = self._quorums.get(request.transaction_id)
        if quorum is None:
            text = f"transaction not found: {request.transaction_id}"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)
        assert quorum is not None
        result = await self._result(quorum.vote(request.node, digest), request.node)
        if result == CANCELED:
            await context.abort(grpc.StatusCode.CANCELLED, "transaction has been canceled")
        return _answer(result)

    async def _held(self, voter: tuple[int, str]) -> None:
        try:
            async with self._news:
                await self._news.wait_for(lambda: voter in self._left)
        except asyncio.CancelledError:
            self.withdrawn.append(voter[1])
            raise

    async def _result(self, found: Round, node: str) -> str:
        await self._tell()
        try:
            async with self._news:
                await self._news.wait_for(lambda: node in found.results)
        except asyncio.CancelledError:
            self.withdrawn.append(node)
            raise
        return found.results[node]

    async def _stop(self, request: StopTransactionRequest, context: Any) -> Message:
        self.stops.append(request.transaction_id)
        if self.status is not None:
            await context.abort(*self.status)
        if request.transaction_id in self._quorums:
            await self.stop(request.transaction_id)
        return StopTransactionResponse()

    async def start(self, *, serves_votes: bool) -> aio.Server:
        server = aio.server()
        handlers: dict[str, Any] = {  # of coroutine functions: not what the stubs expect
            "VoteTransaction": grpc.unary_unary_rpc_method_handler(
                cast(Any, self._vote),
                request_deserializer=VoteTransactionRequest.FromString,
                response_serializer=VoteTransactionResponse.SerializeToString,
            ),
            "StopTransaction": grpc.unary_unary_rpc_method_handler(
                cast(Any, self._stop),
                request_deserializer=StopTransactionRequest.FromString,
                response_serializer=StopTransactionResponse.SerializeToString,
            ),
        }
        if serves_votes:
            service = grpc.method_handlers_generic_handler("gitaly.RefTransaction", handlers)
            server.add_generic_rpc_handlers((service,))
        server.add_insecure_port(f"unix-abstract:{self._name}")
        await server.start()
        return server


def _answer(state: str) -> VoteTransactionResponse:
    return VoteTransactionResponse(state=state)


@asynccontextmanager
async def a_praefect(*, serves_votes: bool = True) -> AsyncIterator[Praefect]:
    praefect = Praefect()
    server = await praefect.start(serves_votes=serves_votes)
    try:
        yield praefect
    finally:
        for link in praefect.links:
            await link.aclose()
        await server.stop(None)


def header(transaction: int, node: str, *, primary: bool = True) -> Metadata:
    """The metadata by which Praefect asks for votes."""
    said = json.dumps({"id": transaction, "node": node, "primary": primary})
    return [("gitaly-reference-transaction", base64.b64encode(said.encode()).decode())]
