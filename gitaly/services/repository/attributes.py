"""Git attributes."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from gitaly._pb.repository_pb2 import (
    GetFileAttributesRequest,
    GetFileAttributesResponse,
    GetInfoAttributesRequest,
    GetInfoAttributesResponse,
)
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import Git, InvalidArgument, Objects, file_attributes, fit
from gitaly.rpc import Call
from gitaly.storage import Blocking, Storages, temporary_file


class AttributesServicer:
    """Reads .gitattributes."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(self, storages: Storages, git: Git, objects: Objects, blocking: Blocking) -> None:
        self._storages = storages
        self._git = git
        self._objects = objects
        self._blocking = blocking

    async def GetInfoAttributes(
        self, request: GetInfoAttributesRequest, _: Call
    ) -> AsyncIterator[GetInfoAttributesResponse]:
        """HEAD's .gitattributes, whatever the RPC's name says; without one, an empty message."""
        repository = self._storages.existing(request.repository)
        info = await self._objects.info(repository, b"HEAD:.gitattributes")
        if info is None or info.type != "blob" or not info.size:
            yield GetInfoAttributesResponse()
            return
        async with aclosing(self._objects.pieces(repository, info)) as pieces:
            async for piece in pieces:
                yield GetInfoAttributesResponse(attributes=piece)

    async def GetFileAttributes(
        self, request: GetFileAttributesRequest, _: Call
    ) -> GetFileAttributesResponse:
        repository = self._storages.existing(request.repository)
        _check(request)
        with prefixed("check attr"):
            try:
                found = await file_attributes(
                    self._git,
                    repository,
                    request.revision,
                    names=request.attributes,
                    paths=request.paths,
                    scratch=partial(
                        temporary_file, self._blocking, repository.storage_path, "attributes"
                    ),
                )
            except InvalidArgument as error:
                error.message = f"start check-attr command: {error.message}"
                raise
        infos = [
            GetFileAttributesResponse.AttributeInfo(path=path, attribute=name, value=value)
            for path, name, value in found
        ]
        return GetFileAttributesResponse(attribute_infos=infos)


def _check(request: GetFileAttributesRequest) -> None:
    if not request.revision:
        raise InvalidRequest("revision is required")
    if not request.paths:
        raise InvalidRequest("file paths are required")
    if not request.attributes:
        raise InvalidRequest("attributes are required")
    if b"\0" in request.revision or any("\0" in name for name in request.attributes):
        raise InvalidRequest("revision and attributes must not contain null bytes")
    if not fit([request.revision, *map(str.encode, request.attributes)]):
        raise InvalidRequest("revision and attributes are too long or too many")
    if any("\0" in path for path in request.paths):
        raise Internal("check attr: path with NUL byte not allowed")
