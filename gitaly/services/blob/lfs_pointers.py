"""Pointers of Git LFS among blobs."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from gitaly._pb.blob_pb2 import (
    GetLFSPointersRequest,
    GetLFSPointersResponse,
    LFSPointer,
    ListAllLFSPointersRequest,
    ListAllLFSPointersResponse,
    ListLFSPointersRequest,
    ListLFSPointersResponse,
)
from gitaly.errors import Internal, InvalidRequest, NodeError, prefixed
from gitaly.git import (
    LARGEST_LFS_POINTER_BYTES,
    NO_LIMIT,
    ObjectInfo,
    RepositoryPaths,
    all_objects,
    go_quoted,
    parse_lfs_pointer,
    rev_list,
)
from gitaly.rpc import Call
from gitaly.services.blob.listing import BLOBS_OF_A_WALK, TOGETHER
from gitaly.services.blob.reading import BlobReading
from gitaly.services.messages import in_messages
from gitaly.services.revisions import check_revisions

# A walk lists what is smaller than this, while elsewhere a pointer may have just this size.
_WALK: Final = (f"--filter=blob:limit={LARGEST_LFS_POINTER_BYTES}", *BLOBS_OF_A_WALK)


class LFSPointers(BlobReading):
    """Pointers by id, from a walk, and all of them."""

    async def GetLFSPointers(
        self, request: GetLFSPointersRequest, _: Call
    ) -> AsyncIterator[GetLFSPointersResponse]:
        repository = self._storages.existing(request.repository)
        if not request.blob_ids:
            raise InvalidRequest("empty BlobIds")
        names = [name.encode() for name in request.blob_ids]
        async with (
            aclosing(self._small_blobs(repository, names)) as ids,
            aclosing(self._pointers(repository, ids)) as pointers,
        ):
            async for some in in_messages(pointers):
                yield GetLFSPointersResponse(lfs_pointers=some)

    async def ListLFSPointers(
        self, request: ListLFSPointersRequest, _: Call
    ) -> AsyncIterator[ListLFSPointersResponse]:
        repository = self._storages.existing_objects(request.repository)
        if not request.revisions:
            raise InvalidRequest("missing revisions")
        revisions = [revision.encode() for revision in request.revisions]
        check_revisions(revisions, may_have_path=True, may_be_pseudo=True)

        async def walked() -> AsyncGenerator[list[bytes], None]:
            walk = rev_list(self._git, repository, revisions, _WALK)
            async with aclosing(walk):
                async for lines in walk:
                    yield [line.partition(b" ")[0] for line in lines]

        async with (
            aclosing(walked()) as ids,
            aclosing(self._pointers(repository, ids, request.limit)) as pointers,
        ):
            async for some in in_messages(pointers):
                yield ListLFSPointersResponse(lfs_pointers=some)

    async def ListAllLFSPointers(
        self, request: ListAllLFSPointersRequest, _: Call
    ) -> AsyncIterator[ListAllLFSPointersResponse]:
        repository = self._storages.existing(request.repository)

        async def small() -> AsyncGenerator[list[bytes], None]:
            with prefixed("cat-file failed"):
                async with aclosing(all_objects(self._git, repository, ["blob"])) as batches:
                    async for infos in batches:
                        yield [
                            info.object_id.encode()
                            for info in infos
                            if info.size <= LARGEST_LFS_POINTER_BYTES
                        ]

        async with (
            aclosing(small()) as ids,
            aclosing(self._pointers(repository, ids, request.limit)) as pointers,
        ):
            async for some in in_messages(pointers):
                yield ListAllLFSPointersResponse(lfs_pointers=some)

    async def _small_blobs(
        self, repository: RepositoryPaths, names: Sequence[bytes]
    ) -> AsyncGenerator[list[bytes], None]:
        """The ids of those that are blobs and small enough. Raises Internal if one is missing."""
        for start in range(0, len(names), TOGETHER):
            part = names[start : start + TOGETHER]
            small = []
            for name, info in zip(part, await self._infos(repository, part), strict=True):
                if info is None:
                    raise Internal(f"{_retrieving(name)}: object not found")
                if info.type == "blob" and info.size <= LARGEST_LFS_POINTER_BYTES:
                    small.append(info.object_id.encode())
            yield small

    async def _infos(
        self, repository: RepositoryPaths, names: Sequence[bytes]
    ) -> list[ObjectInfo | None]:
        """All at once; if one of them is bad, one by one, to tell which."""
        try:
            return await self._objects.infos(repository, names)
        except NodeError:
            for name in names:
                with prefixed(_retrieving(name)):
                    await self._objects.info(repository, name)
            raise

    async def _pointers(
        self, repository: RepositoryPaths, ids: AsyncIterator[list[bytes]], limit: int = 0
    ) -> AsyncGenerator[list[LFSPointer], None]:
        """The pointers among small blobs; at most `limit`, if that is above 0."""
        left = limit if limit > 0 else NO_LIMIT
        async for batch in ids:
            for start in range(0, len(batch), TOGETHER):
                part = batch[start : start + TOGETHER]
                found = []
                for blob in await self._objects.read_many(repository, part):
                    if blob is None:
                        raise Internal("requesting object: object not found")
                    pointer = parse_lfs_pointer(blob.data)
                    if pointer is not None:
                        found.append(
                            LFSPointer(
                                size=len(blob.data),
                                data=blob.data,
                                oid=blob.object_id,
                                file_oid=pointer.file_id,
                                file_size=pointer.file_size,
                            )
                        )
                yield found[:left]
                left -= min(left, len(found))
                if not left:
                    return


def _retrieving(name: bytes) -> str:
    return f"retrieving object info for {go_quoted(name)}"
