"""GetBlob and GetBlobs: what a request names."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.blob_pb2 import (
    GetBlobRequest,
    GetBlobResponse,
    GetBlobsRequest,
    GetBlobsResponse,
)
from gitaly._pb.shared_pb2 import BLOB, COMMIT, TREE, ObjectType
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import NO_LIMIT, RepositoryPaths, TreeEntry, go_quoted
from gitaly.rpc import Call
from gitaly.services.blob.reading import BlobReading
from gitaly.services.revisions import check_revision
from gitaly.services.tree_lookup import EntryFinder

_TYPES: Final[Mapping[str, ObjectType]] = MappingProxyType(
    {"blob": BLOB, "tree": TREE, "commit": COMMIT}
)


class Contents(BlobReading):
    """Blobs by name."""

    async def GetBlob(self, request: GetBlobRequest, _: Call) -> AsyncIterator[GetBlobResponse]:
        repository = self._storages.existing(request.repository)
        if not request.oid:
            raise InvalidRequest("empty Oid")
        with prefixed("read object"):
            info = await self._objects.info(repository, request.oid.encode())
        if info is None or info.type != "blob":
            yield GetBlobResponse()
            return
        answer = GetBlobResponse(size=info.size, oid=info.object_id)
        if not info.size or not request.limit:
            yield answer
            return
        pieces = self._objects.pieces(repository, info, _limit(request.limit))
        async with aclosing(pieces):
            async for piece in pieces:
                answer.data = piece
                yield answer
                answer = GetBlobResponse()

    async def GetBlobs(self, request: GetBlobsRequest, _: Call) -> AsyncIterator[GetBlobsResponse]:
        repository = self._storages.existing(request.repository)
        if not request.revision_paths:
            raise InvalidRequest("empty RevisionPaths")
        for pair in request.revision_paths:
            check_revision(pair.revision.encode())
        finder = EntryFinder(self._objects, repository)
        for pair in request.revision_paths:
            path = pair.path.rstrip(b"/") if len(pair.path) > 1 else pair.path
            with prefixed("find by revision and path"):
                entry = await finder.find(pair.revision.encode(), path)
            answer = GetBlobsResponse(revision=pair.revision, path=path)
            if entry is None:
                yield answer
                continue
            async with aclosing(self._entry(repository, entry, answer, request.limit)) as messages:
                async for message in messages:
                    yield message

    async def _entry(
        self,
        repository: RepositoryPaths,
        entry: TreeEntry,
        answer: GetBlobsResponse,
        limit: int,
    ) -> AsyncGenerator[GetBlobsResponse, None]:
        """The messages about an entry of a tree; `answer` is what is known of it."""
        answer.mode, answer.oid, answer.type = entry.mode, entry.object_id, _TYPES[entry.type]
        if entry.type == "commit":
            answer.is_submodule = True
            yield answer
            return
        info = await self._objects.info(repository, entry.object_id.encode())
        if info is None:
            raise Internal("read object info: object not found")
        answer.size = info.size
        if entry.type != "blob" or not info.size or not limit:
            yield answer
            return
        if info.type != "blob":
            raise Internal(f"blob got unexpected type {go_quoted(info.type)}")
        pieces = self._objects.pieces(repository, info, _limit(limit))
        async with aclosing(pieces):
            async for piece in pieces:
                answer.data = piece
                yield answer
                answer = GetBlobsResponse()


def _limit(given: int) -> int:
    """Bytes of content; below 0 all of them."""
    return given if given >= 0 else NO_LIMIT
