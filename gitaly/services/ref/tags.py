"""Tags by the names of their references."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.errors_pb2 import ReferenceNotFoundError
from gitaly._pb.ref_pb2 import (
    FindAllTagsRequest,
    FindAllTagsResponse,
    FindTagError,
    FindTagRequest,
    FindTagResponse,
)
from gitaly._pb.shared_pb2 import ASCENDING, DESCENDING
from gitaly.errors import Internal, InvalidRequest, NotFound, prefixed
from gitaly.git import (
    ListedReference,
    ListingFailed,
    Mailmap,
    ReferenceQuery,
    RepositoryPaths,
    SortKey,
    first_tag,
)
from gitaly.rpc import Call
from gitaly.services.encoding import field
from gitaly.services.messages import sized_messages
from gitaly.services.ref.known_messages import Parts, known_or_built
from gitaly.services.ref.pages import UnknownToken, cut, page_of
from gitaly.services.ref.reading import RefReading
from gitaly.services.ref.tag_reader import TagReader

TAGS: Final = b"refs/tags/"
_TAGS: Final = FindAllTagsResponse.TAGS_FIELD_NUMBER
_PATTERN: Final = re.compile(rb"\A-|[*?\[\\\0]")  # what is more, or less, than a name
_SORT_KEYS: Final[Mapping[int, SortKey]] = MappingProxyType(
    {
        FindAllTagsRequest.SortBy.REFNAME: SortKey.REFNAME,
        FindAllTagsRequest.SortBy.CREATORDATE: SortKey.CREATOR_DATE,
        FindAllTagsRequest.SortBy.VERSION_REFNAME: SortKey.VERSION,
    }
)


class Tags(RefReading):
    """References below refs/tags."""

    async def FindTag(self, request: FindTagRequest, call: Call) -> FindTagResponse:
        repository = self._storages.existing(request.repository)
        if not request.tag_name:
            raise InvalidRequest("tag name is empty")
        found = await self._tag(repository, request.tag_name)
        if found is None:
            error = NotFound("tag does not exist")
            missing = ReferenceNotFoundError(reference_name=TAGS + request.tag_name)
            error.details = (FindTagError(tag_not_found=missing),)
            raise error
        reader = TagReader(self._objects, repository, await self._mailmap(repository, call))
        with prefixed("parsing tag"):
            return FindTagResponse(tag=await reader.one(found))

    async def FindAllTags(self, request: FindAllTagsRequest, call: Call) -> AsyncIterator[bytes]:
        repository = self._storages.existing(request.repository)
        query = _query(request)
        mailmap = await self._mailmap(repository, call)
        has_page = request.HasField("pagination_params")
        page = page_of(request.pagination_params if has_page else None)
        try:
            async with (
                aclosing(self._references.list(repository, query)) as batches,
                aclosing(cut(batches, page)) as inside,
                aclosing(self._read(repository, inside, mailmap)) as tags,
            ):
                async for some in sized_messages(tags, len):
                    yield b"".join(some)
        except UnknownToken:
            raise InvalidRequest("could not find page token") from None
        except ListingFailed as error:
            text = f"for-each-ref pipeline command: {error.exit}"
            raise Internal(f"iterating over tags: {text}") from error

    async def _read(
        self,
        repository: RepositoryPaths,
        batches: AsyncIterator[list[ListedReference]],
        mailmap: Mailmap,
    ) -> AsyncGenerator[list[bytes], None]:
        """Fields of the response, one for each tag."""
        reader = TagReader(self._objects, repository, mailmap)
        key = (repository.path, "tags", mailmap.digest)

        async def build(references: Sequence[ListedReference]) -> Parts:
            with prefixed("iterating over tags: requesting object"):
                tags = await reader.many(references)
            parts = [field(_TAGS, tag.SerializeToString()) for tag in tags]
            built = dict(zip(references, parts, strict=True))
            self._known.add(key, built)
            return built

        async for batch in batches:
            yield await known_or_built(self._known.of(key), batch, build)
            await asyncio.sleep(0)  # reading in process never waits

    async def _tag(self, repository: RepositoryPaths, name: bytes) -> ListedReference | None:
        """The one of this name, or the first that the name matches as a pattern."""
        if _PATTERN.search(name):
            return await first_tag(self._git, repository, name)
        found = await self._references.find(repository, TAGS + name)
        if found is None or found.name != TAGS + name:
            return None
        is_there = await self._objects.info(repository, found.target.encode())
        return None if is_there is None else found


def _query(request: FindAllTagsRequest) -> ReferenceQuery:
    """Raises InvalidRequest."""
    if not request.HasField("sort_by"):
        return ReferenceQuery(patterns=[TAGS])
    direction = request.sort_by.direction
    if direction not in (ASCENDING, DESCENDING):
        raise InvalidRequest(f"unsupported sorting direction: {direction}")
    key = _SORT_KEYS.get(request.sort_by.key)
    if key is None:
        raise InvalidRequest(f"unsupported sorting key: {request.sort_by.key}")
    return ReferenceQuery(patterns=[TAGS], sort_key=key, descending=direction == DESCENDING)
