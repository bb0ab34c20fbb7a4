"""RepositoryService: repositories as a whole."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gitaly._pb.repository_pb2 import (
    CreateRepositoryRequest,
    CreateRepositoryResponse,
    HasLocalBranchesRequest,
    HasLocalBranchesResponse,
    ObjectFormatRequest,
    ObjectFormatResponse,
    RemoveRepositoryRequest,
    RemoveRepositoryResponse,
    RepositoryExistsRequest,
    RepositoryExistsResponse,
    RepositoryInfoRequest,
    RepositoryInfoResponse,
    RepositorySizeRequest,
    RepositorySizeResponse,
)
from gitaly._pb.shared_pb2 import (
    OBJECT_FORMAT_SHA1,
    OBJECT_FORMAT_SHA256,
    OBJECT_FORMAT_UNSPECIFIED,
    ObjectFormat,
)
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import Formats, References, go_quoted
from gitaly.hooks.custom import HookStore
from gitaly.rpc import Call
from gitaly.services.custom_hooks import CustomHooksCalls
from gitaly.services.repository_info import info_response
from gitaly.services.voters import Voters
from gitaly.storage import (
    Blocking,
    Creator,
    Initial,
    Remover,
    Storages,
    directory_size,
    repository_info,
)

_FORMATS: Final[Mapping[int, str]] = MappingProxyType(
    {
        OBJECT_FORMAT_UNSPECIFIED: "sha1",
        OBJECT_FORMAT_SHA1: "sha1",
        OBJECT_FORMAT_SHA256: "sha256",
    }
)
_FORMAT_VALUES: Final[Mapping[str, ObjectFormat]] = MappingProxyType(
    {"sha1": OBJECT_FORMAT_SHA1, "sha256": OBJECT_FORMAT_SHA256}
)


class RepositoryServicer(CustomHooksCalls):
    """What there is, how big it is, and making and removing it."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(
        self,
        storages: Storages,
        *,
        references: References,
        formats: Formats,
        creator: Creator,
        remover: Remover,
        voters: Voters,
        blocking: Blocking,
        hook_store: HookStore,
    ) -> None:
        self._storages = storages
        self._hook_store = hook_store
        self._references = references
        self._formats = formats
        self._creator = creator
        self._remover = remover
        self._voters = voters
        self._blocking = blocking

    async def RepositoryExists(
        self, request: RepositoryExistsRequest, _: Call
    ) -> RepositoryExistsResponse:
        return RepositoryExistsResponse(exists=self._storages.exists(request.repository))

    async def CreateRepository(
        self, request: CreateRepositoryRequest, call: Call
    ) -> CreateRepositoryResponse:
        repository = self._storages.creatable(request.repository)
        object_format = _FORMATS.get(request.object_format)
        if object_format is None:
            given = go_quoted(str(request.object_format))
            raise InvalidRequest(f"unknown object format: {given}")
        branch = request.default_branch.decode(errors="surrogateescape")
        initial = Initial(branch=branch, object_format=object_format)
        vote = self._voters.vote_of(call)
        with prefixed("creating repository"):
            await self._creator.create(repository, initial=initial, vote=vote)
        return CreateRepositoryResponse()

    async def RemoveRepository(
        self, request: RemoveRepositoryRequest, call: Call
    ) -> RemoveRepositoryResponse:
        repository = self._storages.existing(request.repository)
        await self._remover.remove(repository, vote=self._voters.vote_of(call))
        return RemoveRepositoryResponse()

    async def RepositorySize(
        self, request: RepositorySizeRequest, _: Call
    ) -> RepositorySizeResponse:
        repository = self._storages.existing(request.repository)
        size = await self._blocking.run(directory_size, repository.path)
        return RepositorySizeResponse(size=size // 1024)

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
