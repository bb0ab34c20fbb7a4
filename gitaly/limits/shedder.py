"""Cancels the costliest reads when the node's control group is about to break down.

Source: Gitaly, internal/burdenmonitor/load_shedder.go.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter

from gitaly._pb.errors_pb2 import LimitError
from gitaly.errors import ResourceExhausted
from gitaly.limits.conditions import Event
from gitaly.observe.log import Logger

MOST_SHED: Final = 10  # calls at a time
INTERVAL_SECONDS: Final = 15.0  # until the next time; events come in swarms
REASON: Final = "high CPU usage"


class Shed(ResourceExhausted):
    """The call was sacrificed so that others can go on."""

    def __init__(self) -> None:
        super().__init__(f"RPC cancelled by load shedder: {REASON}")
        self.details = (LimitError(error_message=REASON),)


class Burden(Protocol):
    """A running call that may be cancelled without loss, and what it costs."""

    @property
    def grpc_service(self) -> str:
        """ "gitaly.SSHService"."""

    @property
    def grpc_method(self) -> str:
        """ "SSHUploadPackWithSidechannel"."""

    @property
    def correlation_id(self) -> str:
        """Of the call."""

    @property
    def repository(self) -> str:
        """Its relative path; empty if it is not known."""

    @property
    def cpu_seconds(self) -> float:
        """Of its git children, those that run and those that have ended."""

    def cancel(self, error: ResourceExhausted) -> None:
        """End it with this error."""


FindBurdens = Callable[[], Awaitable[Sequence[Burden]]]


class LoadShedder:
    """Decides whom to cancel, and does it."""

    def __init__(
        self, find_burdens: FindBurdens, registry: CollectorRegistry, logger: Logger
    ) -> None:
        self._find_burdens = find_burdens
        self._logger = logger
        self._last = float("-inf")
        self._shed = Counter(
            "gitaly_loadshedder_rpcs_shed_total",
            "Total number of RPCs cancelled by the load shedder",
            ["grpc_service", "grpc_method", "reason"],
            registry=registry,
        )

    async def shed(self, event: Event, now: float) -> int:
        """Cancel the costliest calls; how many. Nobody, if the last time is not long ago.

        A call that has cost no CPU time is no burden and is left alone.
        """
        if now - self._last <= INTERVAL_SECONDS:
            return 0
        self._last = now
        found = [burden for burden in await self._find_burdens() if burden.cpu_seconds > 0]
        found.sort(key=lambda burden: burden.cpu_seconds, reverse=True)
        for burden in found[:MOST_SHED]:
            burden.cancel(Shed())
            self._shed.labels(burden.grpc_service, burden.grpc_method, REASON).inc()
            self._logger.warning(
                "load shedder cancelled RPC",
                correlation_id=burden.correlation_id,
                repository=burden.repository,
                reason=REASON,
                cpu_time_ms=int(burden.cpu_seconds * 1000),
            )
        self._logger.warning(
            "load shedder cancelled in-flight RPCs",
            condition=event.condition,
            reason=event.reason,
            sniped_count=len(found[:MOST_SHED]),
        )
        return len(found[:MOST_SHED])
