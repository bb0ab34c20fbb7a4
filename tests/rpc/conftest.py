"""A gRPC server with servicers made for a test, and a client that is not asyncio's.

The asyncio client of grpcio turns early answers into INTERNAL now and then (grpc/grpc#36066).
"""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from gitaly.config import load_text
from gitaly.limiting import Limiting
from gitaly.observe.log import make_logger
from gitaly.rpc import Authenticator, AuthPolicy, Call, RunningReads, node_services
from gitaly.rpc.access_log import AccessLog
from gitaly.rpc.core import Core
from gitaly.rpc.metrics import RpcMetrics
from gitaly.rpc.server import make_routes
from gitaly.rpc.steps import Steps
from gitaly.transport.connections import Connections
from gitaly.transport.listener import Endpoint, Listener

Metadata = Sequence[tuple[str, str]]


@dataclass
class Answer:
    code: str
    text: str
    messages: list[bytes]
    trailers: dict[str, str | bytes]


@dataclass
class Served:
    """A server under test."""

    address: str
    registry: CollectorRegistry
    running: set[Call]
    log: io.BytesIO
    core: Core
    calls: list[Any] = field(default_factory=list)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def ask(
        self,
        path: str,
        *requests: bytes,
        metadata: Metadata = (),
        timeout: float | None = 20,
    ) -> Answer:
        """One call, whatever its kind: all messages in, all messages out."""
        return await asyncio.to_thread(self._ask, path, requests, metadata, timeout)

    def _ask(
        self, path: str, requests: Sequence[bytes], metadata: Metadata, timeout: float | None
    ) -> Answer:
        with grpc.insecure_channel(self.address) as channel:
            ask: Any = channel.stream_stream(path)  # bytes in, bytes out: untyped by its stubs
            call = ask(iter(requests), metadata=tuple(metadata), timeout=timeout)
            messages: list[bytes] = []
            with contextlib.suppress(grpc.RpcError):
                messages.extend(call)
            trailers = dict(call.trailing_metadata() or ())
            return Answer(call.code().name, call.details() or "", messages, trailers)


Serve = Callable[..., Any]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    @contextlib.asynccontextmanager
    async def start(
        *servicers: object, secret: bytes = b"", limits: str = "", reads: RunningReads | None = None
    ) -> AsyncIterator[Served]:
        registry, log, running = CollectorRegistry(), io.BytesIO(), set[Call]()
        logger = make_logger(log, format="json")
        policy = AuthPolicy(secrets=(secret,) if secret else ())
        methods = [method for service in node_services().values() for method in service]
        steps = Steps(
            metrics=RpcMetrics(registry, methods, [0.1, 1.0]),
            access_log=AccessLog(logger, {}),
            auth=Authenticator(policy, registry, lambda: 1_700_000_000.0, logger),
            running=running,
            logger=logger,
            limits=Limiting(load_text(limits), registry, logger).methods,
            reads=reads,
        )
        path = str(tmp_path / "grpc")
        core, connections = Core(make_routes(methods, servicers, steps)), Connections()
        listener = Listener(
            Endpoint(kind="unix", address=path),
            server=core,
            connections=connections,
            on_accept=lambda _: None,
            logger=make_logger(io.BytesIO()),
        )
        listener.open()
        try:
            yield Served(f"unix:{path}", registry, running, log, core)
        finally:
            listener.close()
            await core.stop(None)
            while running:  # noqa: ASYNC110  # handlers that were cancelled come to their end
                await asyncio.sleep(0.01)
            connections.abort()

    yield start
