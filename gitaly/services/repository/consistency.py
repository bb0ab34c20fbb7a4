"""Whether a repository is what it should be."""

from gitaly._pb.repository_pb2 import (
    CalculateChecksumRequest,
    CalculateChecksumResponse,
    FsckRequest,
    FsckResponse,
)
from gitaly.errors import DataLoss
from gitaly.git import Git, fsck, references_checksum
from gitaly.rpc import Call
from gitaly.storage import Storages


class ConsistencyServicer:
    """Compares and checks."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(self, storages: Storages, git: Git) -> None:
        self._storages = storages
        self._git = git

    async def CalculateChecksum(
        self, request: CalculateChecksumRequest, _: Call
    ) -> CalculateChecksumResponse:
        repository = self._storages.existing(request.repository)
        checksum = await references_checksum(self._git, repository)
        if checksum is None:
            raise DataLoss(f"not a git repository '{repository.relative_path}'")
        return CalculateChecksumResponse(checksum=checksum)

    async def Fsck(self, request: FsckRequest, _: Call) -> FsckResponse:
        repository = self._storages.existing(request.repository)
        said = await fsck(self._git, repository, own_objects_only=request.repo_only)
        return FsckResponse(error=said)
