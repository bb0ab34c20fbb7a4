"""grpc.health.v1: whether the node serves.

No disk, no lock, no limit stands in the way: Praefect asks every second and waits one.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from grpc_health.v1 import health_pb2

from gitaly.errors import NotFound, Unavailable
from gitaly.rpc import Call

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer:
    """Answers SERVING for "", the node as a whole, until it drains."""

    SERVICE = "grpc.health.v1.Health"

    def __init__(self) -> None:
        self._draining = asyncio.Event()
        self._left = asyncio.Event()

    def drain(self) -> None:
        """From now on the node is not serving: proxies send their calls elsewhere."""
        self._draining.set()

    def leave(self) -> None:
        """Another process serves from now on: the node as a whole still does, and who watches it
        must watch there."""
        self._left.set()

    def _answer(self) -> health_pb2.HealthCheckResponse:
        status = NOT_SERVING if self._draining.is_set() else SERVING
        return health_pb2.HealthCheckResponse(status=status)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, _: Call
    ) -> health_pb2.HealthCheckResponse:
        if request.service:
            raise NotFound("unknown service")
        return self._answer()

    async def List(
        self, _: health_pb2.HealthListRequest, __: Call
    ) -> health_pb2.HealthListResponse:
        return health_pb2.HealthListResponse(statuses={"": self._answer()})

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _: Call
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        if request.service:
            yield health_pb2.HealthCheckResponse(status=SERVICE_UNKNOWN)
            await self._change(asyncio.Event())  # until the client has seen enough
        yield self._answer()
        await self._change(self._draining)
        yield self._answer()
        await self._change(asyncio.Event())

    async def _change(self, event: asyncio.Event) -> None:
        """Wait for an event. Raises Unavailable once this process has been replaced."""
        async with asyncio.TaskGroup() as tasks:
            waits = [tasks.create_task(one.wait()) for one in (event, self._left)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        if self._left.is_set():
            raise Unavailable("the node was restarted: watch the process that serves now")
