"""References that a request names, and plain lists of them."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from gitaly._pb.ref_pb2 import (
    FindDefaultBranchNameRequest,
    FindDefaultBranchNameResponse,
    FindRefsByOIDRequest,
    FindRefsByOIDResponse,
    ListRefsRequest,
    RefExistsRequest,
    RefExistsResponse,
)
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import GitFailed, InvalidArgument, references_pointing_at
from gitaly.rpc import Call
from gitaly.services.ref.list_refs import list_refs_query, list_refs_response, reference_field
from gitaly.services.ref.pages import list_refs_page, paged
from gitaly.services.ref.reading import RefReading

_DEFAULT_PATTERNS = (b"refs/tags/", b"refs/heads/")
_USAGE = 129  # git's exit if it is asked for what cannot be


class Lookups(RefReading):
    """What there is, without the objects behind it."""

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

    async def ListRefs(self, request: ListRefsRequest, _: Call) -> AsyncIterator[list[bytes]]:
        repository = self._storages.existing(request.repository)
        query = list_refs_query(request)
        page = list_refs_page(request)
        head = await self._references.resolve_head(repository) if request.head else None
        try:
            async with aclosing(self._references.list(repository, query)) as batches:
                async for messages in paged(batches, page):
                    responses = [list_refs_response(*message) for message in messages]
                    if head is not None:
                        responses[0] = reference_field(b"HEAD", head) + responses[0]
                        head = None  # in the first message only
                    yield responses
        except InvalidArgument as error:
            error.message = f"spawning for-each-ref: {error.message}"
            raise

    async def FindRefsByOID(self, request: FindRefsByOIDRequest, _: Call) -> FindRefsByOIDResponse:
        repository = self._storages.existing(request.repository)
        if not request.oid:
            raise InvalidRequest("empty Oid")
        patterns = [pattern.encode() for pattern in request.ref_patterns] or _DEFAULT_PATTERNS
        names = references_pointing_at(
            self._git,
            repository,
            request.oid.encode(),
            patterns,
            sort_field=request.sort_field.encode(),
            count=request.limit,
        )
        async with aclosing(names):
            try:
                found = [name async for batch in names for name in batch]
            except GitFailed as error:
                kind = InvalidRequest if error.exit.code == _USAGE else Internal
                raise kind(f"for-each-ref pipeline command: {error.message}") from error
        try:
            return FindRefsByOIDResponse(refs=[name.decode() for name in found])
        except UnicodeDecodeError:
            raise Internal(
                "grpc: error while marshaling: string field contains invalid UTF-8"
            ) from None
