"""Whether a repository exists; making and removing it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gitaly._pb.repository_pb2 import (
    CreateRepositoryRequest,
    CreateRepositoryResponse,
    RemoveRepositoryRequest,
    RemoveRepositoryResponse,
    RepositoryExistsRequest,
    RepositoryExistsResponse,
)
from gitaly._pb.shared_pb2 import (
    OBJECT_FORMAT_SHA1,
    OBJECT_FORMAT_SHA256,
    OBJECT_FORMAT_UNSPECIFIED,
)
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import go_quoted
from gitaly.rpc import Call
from gitaly.services.voters import Voters
from gitaly.storage import Creator, Initial, Remover, Storages

_FORMATS: Final[Mapping[int, str]] = MappingProxyType(
    {
        OBJECT_FORMAT_UNSPECIFIED: "sha1",
        OBJECT_FORMAT_SHA1: "sha1",
        OBJECT_FORMAT_SHA256: "sha256",
    }
)


class RepositoryServicer:
    """What there is, and making and removing it."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(
        self, storages: Storages, *, creator: Creator, remover: Remover, voters: Voters
    ) -> None:
        self._storages = storages
        self._creator = creator
        self._remover = remover
        self._voters = voters

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
        repository = self._storages.changeable(request.repository)
        await self._remover.remove(repository, vote=self._voters.vote_of(call))
        return RemoveRepositoryResponse()
