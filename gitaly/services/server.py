"""ServerService: the node itself."""

from collections.abc import AsyncIterator

from gitaly._pb.server_pb2 import (
    DiskStatisticsRequest,
    DiskStatisticsResponse,
    ReadinessCheckRequest,
    ReadinessCheckResponse,
    ServerInfoRequest,
    ServerInfoResponse,
    ServerSignatureRequest,
    ServerSignatureResponse,
)
from gitaly.errors import Unavailable, prefixed
from gitaly.git import NO_SIGNING_KEYS, GitBinary, SigningKeyFiles
from gitaly.rpc import Call
from gitaly.services.readiness import Readiness
from gitaly.storage import (
    Blocking,
    Patrol,
    Problem,
    Pulse,
    Storage,
    access,
    file_system_name,
    filesystem_id,
    usage,
)
from gitaly.version import VERSION

Failure = ReadinessCheckResponse.Failure


class ServerServicer:
    """Versions, disks, and the key that signs. Praefect asks every node for these."""

    SERVICE = "gitaly.ServerService"

    def __init__(
        self,
        patrol: Patrol,
        *,
        readiness: Readiness,
        binary: GitBinary,
        blocking: Blocking,
        signing_keys: SigningKeyFiles = NO_SIGNING_KEYS,
        pulse: Pulse | None = None,  # None: what the patrol has seen last is taken to be so
    ) -> None:
        self._pulse = pulse
        self._patrol = patrol
        self._readiness = readiness
        self._binary = binary
        self._blocking = blocking
        self._signing_keys = signing_keys

    async def ServerInfo(self, _: ServerInfoRequest, __: Call) -> ServerInfoResponse:
        return ServerInfoResponse(
            server_version=VERSION,
            git_version=self._binary.version.text,
            storage_statuses=[
                await self._blocking.run(_status, storage, problem)
                async for storage, problem in self._storages()
            ],
        )

    async def DiskStatistics(self, _: DiskStatisticsRequest, __: Call) -> DiskStatisticsResponse:
        return DiskStatisticsResponse(
            storage_statuses=[
                await self._blocking.run(_usage, storage, problem)
                async for storage, problem in self._storages()
            ]
        )

    async def _storages(self) -> AsyncIterator[tuple[Storage, Problem | None]]:
        """Each with its problem. One that hangs would keep the thread that looks at it."""
        for storage, health in self._patrol.health.items():
            problem = health.problem
            if self._pulse is not None and problem is not Problem.HANGS:
                try:
                    await self._pulse.feel(storage.name)
                except Unavailable:
                    problem = Problem.HANGS
            yield storage, problem

    async def ReadinessCheck(self, _: ReadinessCheckRequest, __: Call) -> ReadinessCheckResponse:
        failures = await self._readiness.failures()
        if not failures:
            return ReadinessCheckResponse(ok_response=ReadinessCheckResponse.Ok())
        return ReadinessCheckResponse(
            failure_response=Failure(
                failed_checks=[
                    Failure.Response(name=name, error_message=text)
                    for name, text in failures.items()
                ]
            )
        )

    async def ServerSignature(self, _: ServerSignatureRequest, __: Call) -> ServerSignatureResponse:
        if not self._signing_keys:
            return ServerSignatureResponse()
        key = await self._blocking.run(self._signing_keys.primary)
        with prefixed("failed to fetch public key"):
            return ServerSignatureResponse(public_key=key.public_key())


def _status(storage: Storage, problem: Problem | None) -> ServerInfoResponse.StorageStatus:
    """The mode bits, as Gitaly tells them; less, if the storage is known to be worse."""
    if problem is Problem.HANGS:  # whoever asks it does not come back
        return ServerInfoResponse.StorageStatus(
            storage_name=storage.name, fs_type="unknown", replication_factor=1
        )
    bits = access(storage.path)
    return ServerInfoResponse.StorageStatus(
        storage_name=storage.name,
        readable=bits.is_readable and not (problem and problem.forbids_reading),
        writeable=bits.is_writeable and problem is None,
        fs_type=file_system_name(storage.path),
        filesystem_id=filesystem_id(storage.path),
        replication_factor=1,  # one node is one copy
    )


def _usage(storage: Storage, problem: Problem | None) -> DiskStatisticsResponse.StorageStatus:
    if problem is Problem.HANGS:
        return DiskStatisticsResponse.StorageStatus(storage_name=storage.name)
    found = usage(storage.path)
    return DiskStatisticsResponse.StorageStatus(
        storage_name=storage.name, available=found.available, used=found.used
    )
