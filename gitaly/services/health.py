"""grpc.health.v1: whether the node serves.

No disk, no lock, no limit stands in the way: Praefect asks every second and waits one.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from grpc_health.v1 import health_pb2

from gitaly.errors import NotFound, Unavailable
from gitaly.rpc import Call

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NODE: Final = ""  # the name of the node as a whole


class HealthServicer:
    """Answers for "", the node as a whole, and for "storage/<name>".

    The node serves until it drains, as long as one storage can be read: a proxy that is told
    NOT_SERVING sends nothing here, not even the reads that would work. A storage serves if it can
    be read and written to.
    """

    SERVICE = "grpc.health.v1.Health"

    def __init__(self) -> None:
        self.is_draining = False
        self._has_left = False
        self._can_read = True
        self._storages: dict[str, bool] = {}
        self._changed = asyncio.Event()  # of this state; the next one has another

    def drain(self) -> None:
        """From now on the node is not serving: proxies send their calls elsewhere."""
        self.is_draining = True
        self._wake()

    def leave(self) -> None:
        """Another process serves from now on: the node as a whole still does, and who watches it
        must watch there."""
        self._has_left = True
        self._wake()

    def storages_are(self, healthy: Mapping[str, bool], *, can_read: bool) -> None:
        """How the storages are, by name, and whether any can be read."""
        self._storages, self._can_read = dict(healthy), can_read
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _statuses(self) -> dict[str, int]:
        healthy = {f"storage/{name}": well for name, well in self._storages.items()}
        return {
            name: SERVING if well and not self.is_draining else NOT_SERVING
            for name, well in {NODE: self._can_read, **healthy}.items()
        }

    async def Check(
        self, request: health_pb2.HealthCheckRequest, _: Call
    ) -> health_pb2.HealthCheckResponse:
        status = self._statuses().get(request.service)
        if status is None:
            raise NotFound("unknown service")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(
        self, _: health_pb2.HealthListRequest, __: Call
    ) -> health_pb2.HealthListResponse:
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._statuses().items()
            }
        )

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, _: Call
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """Raises Unavailable once this process has been replaced."""
        told = None
        while not self._has_left:  # or until the client has seen enough
            changed = self._changed
            status = self._statuses().get(request.service, SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            await changed.wait()
        raise Unavailable("the node was restarted: watch the process that serves now")
