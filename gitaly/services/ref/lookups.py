"""RefService: references."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from gitaly._pb.ref_pb2 import (
    FindDefaultBranchNameRequest,
    FindDefaultBranchNameResponse,
    ListRefsRequest,
    ListRefsResponse,
    RefExistsRequest,
    RefExistsResponse,
)
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import References
from gitaly.rpc import Call
from gitaly.services.list_refs import list_refs_query, list_refs_response
from gitaly.services.ref_pages import page_of, paged
from gitaly.storage import Storages


class RefServicer:
    """Reads references."""

    SERVICE = "gitaly.RefService"

    def __init__(self, storages: Storages, references: References) -> None:
        self._storages = storages
        self._references = references

    async def FindDefaultBranchName(
        self, request: FindDefaultBranchNameRequest, _: Call
    ) -> FindDefaultBranchNameResponse:
        repository = self._storages.existing(request.repository)
        if request.head_only:
            with prefixed("head reference"):
                name = await self._references.head_target(repository)
        else:
            with prefixed("get default branch"):
                name = await self._references.default_branch(repository)
        return FindDefaultBranchNameResponse(name=name)

    async def RefExists(self, request: RefExistsRequest, _: Call) -> RefExistsResponse:
        repository = self._storages.existing(request.repository)
        if not request.ref.startswith(b"refs/"):
            raise InvalidRequest("invalid refname")
        return RefExistsResponse(value=await self._references.exists(repository, request.ref))

    async def ListRefs(self, request: ListRefsRequest, _: Call) -> AsyncIterator[ListRefsResponse]:
        repository = self._storages.existing(request.repository)
        query = list_refs_query(request)
        page = page_of(request)
        head = await self._references.resolve_head(repository) if request.head else None
        async with aclosing(self._references.list(repository, query)) as batches:
            async for references, has_more in paged(batches, page):
                yield list_refs_response(references, head=head, has_more=has_more)
                head = None  # in the first message only
