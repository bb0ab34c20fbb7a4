"""GetBlob and GetBlobs: what a request names."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
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
from gitaly.git import NO_LIMIT, ObjectInfo, RepositoryPaths, go_quoted
from gitaly.rpc import Call
from gitaly.services.blob.reading import BlobReading
from gitaly.services.revisions import check_revision
from gitaly.services.tree_lookup import EntryFinder

TOGETHER: Final = 32  # paths that are looked up at once: 2 ms
_TYPES: Final[Mapping[str, ObjectType]] = MappingProxyType(
    {"blob": BLOB, "tree": TREE, "commit": COMMIT}
)


@dataclass(slots=True)
class _Found:
    """What lies at a path."""

    type: str  # of the entry; empty: nothing lies there
    answer: GetBlobsResponse  # what is known of it
    blob: ObjectInfo | None = None  # whose data are wanted


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

    async def GetBlobs(
        self, request: GetBlobsRequest, _: Call
    ) -> AsyncIterator[list[GetBlobsResponse]]:
        repository = self._storages.existing(request.repository)
        if not request.revision_paths:
            raise InvalidRequest("empty RevisionPaths")
        for pair in request.revision_paths:
            check_revision(pair.revision.encode())
        finder = EntryFinder(self._objects, repository)
        for start in range(0, len(request.revision_paths), TOGETHER):
            some = request.revision_paths[start : start + TOGETHER]
            with prefixed("find by revision and path"):
                found = [await self._found(finder, pair) for pair in some]
            limit = _limit(request.limit)
            async with aclosing(self._told(repository, found, limit)) as together:
                async for messages in together:
                    yield messages  # which waits, as reading in process never does

    async def _found(self, finder: EntryFinder, pair: GetBlobsRequest.RevisionPath) -> _Found:
        path = pair.path.rstrip(b"/") if len(pair.path) > 1 else pair.path
        entry = await finder.find(pair.revision.encode(), path)
        answer = GetBlobsResponse(revision=pair.revision, path=path)
        if entry is None:
            return _Found("", answer)
        answer.mode, answer.oid, answer.type = entry.mode, entry.object_id, _TYPES[entry.type]
        answer.is_submodule = entry.type == "commit"
        return _Found(entry.type, answer)

    async def _told(
        self, repository: RepositoryPaths, found: Sequence[_Found], limit: int
    ) -> AsyncGenerator[list[GetBlobsResponse], None]:
        """The messages about some entries; small blobs are read, and told, together."""
        await self._describe(repository, found, has_data=limit > 0)
        blobs = [one.blob for one in found if one.blob is not None]
        contents = await self._small(repository, blobs)
        waiting: list[GetBlobsResponse] = []
        for one in found:
            if one.blob is None or one.blob.object_id in contents:
                one.answer.data = contents.get(one.answer.oid, b"")[:limit]
                waiting.append(one.answer)
                continue
            if waiting:
                yield waiting
                waiting = []
            answer = one.answer
            async with aclosing(self._objects.pieces(repository, one.blob, limit)) as pieces:
                async for piece in pieces:
                    answer.data = piece
                    yield [answer]
                    answer = GetBlobsResponse()
        if waiting:
            yield waiting

    async def _describe(
        self, repository: RepositoryPaths, found: Sequence[_Found], *, has_data: bool
    ) -> None:
        """Tell the sizes of blobs and trees, and which blobs have data to be sent."""
        stored = [one for one in found if one.type in ("blob", "tree")]
        names = [one.answer.oid.encode() for one in stored]
        infos = await self._objects.infos(repository, names) if names else []
        for one, info in zip(stored, infos, strict=True):
            if info is None:
                raise Internal("read object info: object not found")
            one.answer.size = info.size
            if one.type == "blob" and info.size and has_data:
                if info.type != "blob":
                    raise Internal(f"blob got unexpected type {go_quoted(info.type)}")
                one.blob = info


def _limit(given: int) -> int:
    """Bytes of content; below 0 all of them."""
    return given if given >= 0 else NO_LIMIT
