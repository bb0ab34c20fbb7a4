"""ServerService: the node itself."""

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
from gitaly.errors import prefixed
from gitaly.git import NO_SIGNING_KEYS, GitBinary, SigningKeyFiles
from gitaly.rpc import Call
from gitaly.storage import (
    Blocking,
    Storage,
    Storages,
    access,
    file_system_name,
    filesystem_id,
    usage,
)
from gitaly.version import VERSION


class ServerServicer:
    """Versions, disks, and the key that signs. Praefect asks every node for these."""

    SERVICE = "gitaly.ServerService"

    def __init__(
        self,
        storages: Storages,
        *,
        binary: GitBinary,
        blocking: Blocking,
        signing_keys: SigningKeyFiles = NO_SIGNING_KEYS,
    ) -> None:
        self._storages = storages
        self._binary = binary
        self._blocking = blocking
        self._signing_keys = signing_keys

    async def ServerInfo(self, _: ServerInfoRequest, __: Call) -> ServerInfoResponse:
        return ServerInfoResponse(
            server_version=VERSION,
            git_version=self._binary.version.text,
            storage_statuses=[
                await self._blocking.run(_status, storage) for storage in self._storages
            ],
        )

    async def DiskStatistics(self, _: DiskStatisticsRequest, __: Call) -> DiskStatisticsResponse:
        return DiskStatisticsResponse(
            storage_statuses=[
                await self._blocking.run(_usage, storage) for storage in self._storages
            ]
        )

    async def ReadinessCheck(self, _: ReadinessCheckRequest, __: Call) -> ReadinessCheckResponse:
        return ReadinessCheckResponse(ok_response=ReadinessCheckResponse.Ok())

    async def ServerSignature(self, _: ServerSignatureRequest, __: Call) -> ServerSignatureResponse:
        if not self._signing_keys:
            return ServerSignatureResponse()
        key = await self._blocking.run(self._signing_keys.primary)
        with prefixed("failed to fetch public key"):
            return ServerSignatureResponse(public_key=key.public_key())


def _status(storage: Storage) -> ServerInfoResponse.StorageStatus:
    bits = access(storage.path)
    return ServerInfoResponse.StorageStatus(
        storage_name=storage.name,
        readable=bits.is_readable,
        writeable=bits.is_writeable,
        fs_type=file_system_name(storage.path),
        filesystem_id=filesystem_id(storage.path),
        replication_factor=1,  # one node is one copy
    )


def _usage(storage: Storage) -> DiskStatisticsResponse.StorageStatus:
    found = usage(storage.path)
    return DiskStatisticsResponse.StorageStatus(
        storage_name=storage.name, available=found.available, used=found.used
    )
