"""GetRawChanges of RepositoryService: changed files, with the size of what they are now."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.repository_pb2 import GetRawChangesRequest, GetRawChangesResponse
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, prefixed
from gitaly.git import EMPTY_TREE, ID_DIGITS, Formats, Objects, RepositoryPaths, go_quoted
from gitaly.git.diffs import Comparison, Diffs, RawEntry
from gitaly.rpc import Call
from gitaly.services.messages import in_messages
from gitaly.storage import Storages

Change = GetRawChangesResponse.RawChange
SUBMODULE: Final = 0o160000
_OPERATIONS: Final[Mapping[str, Change.Operation]] = MappingProxyType(
    {
        "A": Change.ADDED,
        "C": Change.COPIED,
        "D": Change.DELETED,
        "M": Change.MODIFIED,
        "R": Change.RENAMED,
        "T": Change.TYPE_CHANGED,
    }
)


class RawChangesServicer:
    """Changed files between two revisions."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(
        self, storages: Storages, diffs: Diffs, *, objects: Objects, formats: Formats
    ) -> None:
        self._storages = storages
        self._diffs = diffs
        self._objects = objects
        self._formats = formats

    async def GetRawChanges(
        self, request: GetRawChangesRequest, _: Call
    ) -> AsyncIterator[GetRawChangesResponse]:
        repository = self._storages.existing(request.repository)
        object_format = self._formats.of(repository.path).object_format
        null = "0" * ID_DIGITS[object_format]
        old, new = request.from_revision, request.to_revision
        for name, revision in (("from", old), ("to", new)):
            if revision != null and not await self._exists(repository, revision):
                raise InvalidRequest(f"invalid '{name}' revision: {go_quoted(revision)}")
        if new == null:
            return
        comparison = Comparison(
            repository=repository,
            old=EMPTY_TREE[object_format] if old == null else old,
            new=new,
        )
        changes = self._changes(repository, comparison)
        async with aclosing(changes):
            async for batch in in_messages(changes):
                yield GetRawChangesResponse(raw_changes=batch)

    async def _exists(self, repository: RepositoryPaths, revision: str) -> bool:
        if not revision or revision.startswith("-") or "\0" in revision:
            return False
        return await self._objects.info(repository, revision.encode()) is not None

    async def _changes(
        self, repository: RepositoryPaths, comparison: Comparison
    ) -> AsyncGenerator[list[Change], None]:
        try:
            async with aclosing(self._diffs.entries(comparison)) as batches:
                async for entries in batches:
                    yield [change async for change in self._with_sizes(repository, entries)]
        except FailedPrecondition as error:
            raise Internal(f"wait git diff: {error.message}", **error.metadata) from error

    async def _with_sizes(
        self, repository: RepositoryPaths, entries: list[RawEntry]
    ) -> AsyncIterator[Change]:
        blobs = [_blob(entry) for entry in entries]
        found = await self._objects.infos(repository, [blob.encode() for blob in blobs if blob])
        infos = iter(found)
        for entry, blob in zip(entries, blobs, strict=True):
            change = _change(entry)
            if blob:
                info = next(infos)
                if info is None:
                    with prefixed("build change from diff line"):
                        raise Internal(f"find {go_quoted(blob)}: object not found")
                change.blob_id, change.size = info.object_id, info.size
            yield change


def _blob(entry: RawEntry) -> str:
    """Whose size is told; empty: nobody's."""
    is_there = entry.new_id.strip("0")
    mode = entry.new_mode if is_there else entry.old_mode
    if mode == SUBMODULE:
        return ""
    return entry.new_id if is_there else entry.old_id


def _change(entry: RawEntry) -> Change:
    return Change(
        operation=_OPERATIONS.get(entry.status, Change.UNKNOWN),
        old_mode=entry.old_mode,
        new_mode=entry.new_mode,
        old_path_bytes=b"" if entry.status == "A" else entry.old_path,
        new_path_bytes=b"" if entry.status == "D" else entry.new_path,
    )
