"""What a repository is and how big it is."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gitaly._pb.repository_pb2 import (
    GetObjectDirectorySizeRequest,
    GetObjectDirectorySizeResponse,
    HasLocalBranchesRequest,
    HasLocalBranchesResponse,
    ObjectFormatRequest,
    ObjectFormatResponse,
    RepositoryInfoRequest,
    RepositoryInfoResponse,
    RepositorySizeRequest,
    RepositorySizeResponse,
)
from gitaly._pb.shared_pb2 import OBJECT_FORMAT_SHA1, OBJECT_FORMAT_SHA256, ObjectFormat
from gitaly.errors import InvalidRequest, NotFound
from gitaly.git import Formats, References, go_quoted
from gitaly.rpc import Call
from gitaly.services.repository.info_response import info_response
from gitaly.storage import Blocking, Storages, directory_size, repository_info

_FORMAT_VALUES: Final[Mapping[str, ObjectFormat]] = MappingProxyType(
    {"sha1": OBJECT_FORMAT_SHA1, "sha256": OBJECT_FORMAT_SHA256}
)


class RepositoryInformationServicer:
    """Sizes, formats, statistics."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(
        self, storages: Storages, *, references: References, formats: Formats, blocking: Blocking
    ) -> None:
        self._storages = storages
        self._references = references
        self._formats = formats
        self._blocking = blocking

    async def RepositorySize(
        self, request: RepositorySizeRequest, _: Call
    ) -> RepositorySizeResponse:
        repository = self._storages.existing(request.repository)
        size = await self._blocking.run(directory_size, repository.path)
        return RepositorySizeResponse(size=size // 1024)

    async def GetObjectDirectorySize(
        self, request: GetObjectDirectorySizeRequest, _: Call
    ) -> GetObjectDirectorySizeResponse:
        repository = self._storages.existing(request.repository)
        if not repository.git_object_directory:
            raise InvalidRequest("object directory path is not set")
        path = os.path.join(repository.path, repository.git_object_directory)
        try:
            size = await self._blocking.run(directory_size, path)
        except (FileNotFoundError, NotADirectoryError):
            given = go_quoted(repository.git_object_directory)
            raise NotFound(f"object directory does not exist: {given}") from None
        return GetObjectDirectorySizeResponse(size=size // 1024)

    async def RepositoryInfo(
        self, request: RepositoryInfoRequest, _: Call
    ) -> RepositoryInfoResponse:
        repository = self._storages.existing(request.repository)
        form = self._formats.of(repository.path)
        return info_response(await self._blocking.run(repository_info, repository, form))

    async def ObjectFormat(self, request: ObjectFormatRequest, _: Call) -> ObjectFormatResponse:
        repository = self._storages.existing(request.repository)
        form = self._formats.of(repository.path)
        return ObjectFormatResponse(format=_FORMAT_VALUES[form.object_format])

    async def HasLocalBranches(
        self, request: HasLocalBranchesRequest, _: Call
    ) -> HasLocalBranchesResponse:
        repository = self._storages.existing(request.repository)
        return HasLocalBranchesResponse(value=await self._references.has_branches(repository))
