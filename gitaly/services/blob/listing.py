"""ListBlobs and ListAllBlobs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import Message

from gitaly._pb.blob_pb2 import (
    ListAllBlobsRequest,
    ListAllBlobsResponse,
    ListBlobsRequest,
    ListBlobsResponse,
)
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import (
    NO_LIMIT,
    ObjectInfo,
    RepositoryPaths,
    all_objects,
    go_quoted,
    rev_list,
)
from gitaly.rpc import Call
from gitaly.services.blob.reading import BlobReading
from gitaly.services.messages import in_messages
from gitaly.services.revisions import check_revisions

B = TypeVar("B", bound=Message)
BLOBS_OF_A_WALK: Final = (
    "--in-commit-order",
    "--objects",
    "--object-names",
    "--filter=object:type=blob",
    "--filter-provided-objects",
)
TOGETHER: Final = 64  # blobs of which is asked at once


class Found(NamedTuple):
    """A blob of a list."""

    info: ObjectInfo
    path: bytes = b""


class Listing(BlobReading):
    """Lists of blobs, with as much of their content as is wanted."""

    async def ListBlobs(
        self, request: ListBlobsRequest, _: Call
    ) -> AsyncIterator[ListBlobsResponse]:
        repository = self._storages.existing(request.repository)
        if not request.revisions:
            raise InvalidRequest("missing revisions")
        revisions = [revision.encode() for revision in request.revisions]
        check_revisions(revisions, may_have_path=True, may_be_pseudo=True)
        walk = rev_list(self._git, repository, revisions, BLOBS_OF_A_WALK)
        with prefixed("processing blobs"):
            async with (
                aclosing(walk),
                aclosing(self._walked(repository, walk, has_paths=request.with_paths)) as found,
                aclosing(_limited(found, request.limit)) as some,
                aclosing(
                    self._read(repository, some, request.bytes_limit, ListBlobsResponse.Blob)
                ) as blobs,
            ):
                async for message in in_messages(blobs):
                    yield ListBlobsResponse(blobs=message)

    async def ListAllBlobs(
        self, request: ListAllBlobsRequest, _: Call
    ) -> AsyncIterator[ListAllBlobsResponse]:
        repository = self._storages.existing_objects(request.repository)

        async def found() -> AsyncGenerator[list[Found], None]:
            with prefixed("cat-file failed"):
                async with aclosing(all_objects(self._git, repository, ["blob"])) as batches:
                    async for infos in batches:
                        yield [Found(info) for info in infos]

        with prefixed("processing blobs"):
            async with (
                aclosing(found()) as all_blobs,
                aclosing(_limited(all_blobs, request.limit)) as some,
                aclosing(
                    self._read(repository, some, request.bytes_limit, ListAllBlobsResponse.Blob)
                ) as blobs,
            ):
                async for message in in_messages(blobs):
                    yield ListAllBlobsResponse(blobs=message)

    async def _walked(
        self, repository: RepositoryPaths, walk: AsyncIterator[list[bytes]], *, has_paths: bool
    ) -> AsyncGenerator[list[Found], None]:
        """The blobs of a walk, whose lines are `<id> <path>`."""
        async for lines in walk:
            for start in range(0, len(lines), TOGETHER):
                pairs = [line.partition(b" ") for line in lines[start : start + TOGETHER]]
                infos = await self._objects.infos(repository, [pair[0] for pair in pairs])
                found = []
                for (object_id, _, path), info in zip(pairs, infos, strict=True):
                    if info is None:
                        quoted = go_quoted(object_id)
                        raise Internal(f"retrieving object info for {quoted}: object not found")
                    found.append(Found(info, path if has_paths else b""))
                yield found

    async def _read(
        self,
        repository: RepositoryPaths,
        batches: AsyncIterator[list[Found]],
        limit: int,
        kind: Callable[..., B],
    ) -> AsyncGenerator[list[B], None]:
        """Each blob as one message or more; `limit`: of its bytes, 0 none, below 0 no limit."""
        limit = limit if limit >= 0 else NO_LIMIT
        async for batch in batches:
            for start in range(0, len(batch), TOGETHER):
                part = batch[start : start + TOGETHER]
                await asyncio.sleep(0)  # reading in process never waits
                infos = [one.info for one in part] if limit else []
                known = await self._small(repository, infos)
                for info, path in part:
                    more = {"path": path} if path else {}
                    data = known.get(info.object_id)
                    if data is not None or not info.size or not limit:
                        data = (data or b"")[:limit]
                        yield [kind(oid=info.object_id, size=info.size, data=data, **more)]
                        continue
                    head: dict[str, Any] = {"oid": info.object_id, "size": info.size}
                    pieces = self._objects.pieces(repository, info, limit)
                    async with aclosing(pieces):
                        async for piece in pieces:
                            yield [kind(data=piece, **head, **more)]
                            head = {}


async def _limited(
    batches: AsyncIterator[list[Found]], limit: int
) -> AsyncGenerator[list[Found], None]:
    """The first so many; 0: all."""
    left = limit or NO_LIMIT
    async for batch in batches:
        yield batch[:left]
        left -= min(left, len(batch))
        if not left:
            return
