"""DiffBlobs: patches of pairs of blobs, named one by one or found by FindChangedPaths."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Final, NamedTuple

from gitaly._pb.diff_pb2 import ChangedPaths, DiffBlobsRequest, DiffBlobsResponse
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import ID_DIGITS, Formats, Objects, reason
from gitaly.git.diffs import (
    Comparison,
    Diffs,
    FileDiff,
    Limits,
    PairNames,
    PairsRefused,
    PatchOptions,
    PatchText,
    RawEntry,
    check_pairs,
    trees_of,
)
from gitaly.git.loose_objects import tree_data, write_loose
from gitaly.services.changed_paths import STATUSES
from gitaly.services.patch_pieces import PatchSpool, patch_pieces
from gitaly.services.revisions import check_object_id, check_revision
from gitaly.storage import Blocking, Repository, temporary

_LETTERS: Final = {status: letter for letter, status in STATUSES.items()}
_MOVED: Final = (ChangedPaths.RENAMED, ChangedPaths.COPIED)


class Side(NamedTuple):
    """One side of a pair."""

    revision: str  # as git can be asked for it
    object_id: str  # zeros: there is no blob


def check_diff_blobs(request: DiffBlobsRequest) -> None:
    """Raises InvalidRequest."""
    if not request.blob_pairs and not request.raw_info:
        raise InvalidRequest("request contains no file pairs to diff")
    if request.blob_pairs and request.raw_info:
        raise InvalidRequest("blob pairs and raw info both used in request")
    for entry in request.raw_info:
        if not entry.old_blob_id or not entry.new_blob_id:
            raise InvalidRequest("raw info entry missing blob IDs")
        if not entry.path:
            raise InvalidRequest("raw info entry missing path")
        if entry.status in _MOVED and not entry.old_path:
            raise InvalidRequest("rename/copy raw info entry missing old path")
    if request.blob_pairs and request.whitespace_changes:
        raise InvalidRequest("whitespace changes cannot be ignored when blob pairs are provided")


class BlobDiffs:
    """Makes them."""

    def __init__(
        self, diffs: Diffs, objects: Objects, formats: Formats, blocking: Blocking
    ) -> None:
        self._diffs = diffs
        self._objects = objects
        self._formats = formats
        self._blocking = blocking

    async def responses(
        self, repository: Repository, request: DiffBlobsRequest
    ) -> AsyncGenerator[DiffBlobsResponse, None]:
        """One message or more for each pair, in order. Raises InvalidRequest, Internal."""
        async with (
            temporary(self._blocking, repository.storage_path, "diff-") as directory,
            PatchSpool(self._blocking) as spool,
        ):
            files = (
                self._of_pairs(repository, request, directory)
                if request.blob_pairs
                else self._of_raw_info(repository, request, directory)
            )
            async with aclosing(files):
                async for event in files:
                    if isinstance(event, PatchText):
                        await spool.add(event.data)
                        continue
                    async for response in _messages(event, spool):
                        yield response

    async def _of_pairs(
        self, repository: Repository, request: DiffBlobsRequest, directory: str
    ) -> AsyncGenerator[FileDiff | PatchText, None]:
        object_format = self._formats.of(repository.path).object_format
        null = "0" * ID_DIGITS[object_format]
        pairs = [
            await self._pair(repository, pair, null, object_format) for pair in request.blob_pairs
        ]
        empty = await self._written(directory, "blob", b"", object_format)
        limit = request.patch_bytes_limit
        limits = Limits(enforce=limit > 0, patches_only=True, max_patch_bytes=limit).clamped()
        options = replace(_options(request), limits=limits)
        with prefixed("generating diff"):
            for left, right in pairs:
                old = empty if left.object_id == null else left.revision
                new = empty if right.object_id == null else right.revision
                if old == right.object_id or new == left.object_id:  # no blob, and an empty one
                    yield FileDiff(_entry(left.object_id, right.object_id))
                    continue
                comparison = Comparison(repository=repository, old=old, new=new)
                async for event in self._one_pair(comparison, options, directory):
                    if isinstance(event, FileDiff):
                        yield event._replace(entry=_echoed(event.entry, left, right, null))
                    else:
                        yield event

    async def _one_pair(
        self, comparison: Comparison, options: PatchOptions, directory: str
    ) -> AsyncIterator[FileDiff | PatchText]:
        """Only the first half, where a blob takes the place of another kind of blob."""
        found = False
        async with aclosing(self._diffs.blobs(comparison, options, directory)) as batches:
            async for events in batches:
                for event in events:
                    if not found:
                        yield event
                    found = found or isinstance(event, FileDiff)
        if not found:
            raise Internal("diff parser finished unexpectedly")

    async def _of_raw_info(
        self, repository: Repository, request: DiffBlobsRequest, directory: str
    ) -> AsyncGenerator[FileDiff | PatchText, None]:
        object_format = self._formats.of(repository.path).object_format
        pairs = [_raw_entry(entry) for entry in request.raw_info]
        limit = request.patch_bytes_limit
        names = PairNames(pairs, limit)
        try:
            check_pairs(pairs, ID_DIGITS[object_format])
            trees = trees_of(pairs)
            old = await self._written(directory, "tree", tree_data(trees.old), object_format)
            new = await self._written(directory, "tree", tree_data(trees.new), object_format)
        except PairsRefused:
            for file in names.rest():
                yield file
            raise Internal("waiting for git-diff-pairs: exit status 128") from None
        limits = Limits(enforce=limit != 0, patches_only=True, max_patch_bytes=limit + 1)
        options = replace(_options(request), limits=limits)
        comparison = Comparison(repository=repository, old=old, new=new)
        try:
            async with aclosing(self._diffs.trees(comparison, options, directory)) as batches:
                async for events in batches:
                    for event in events:
                        if isinstance(event, PatchText):
                            yield event
                            continue
                        for file in names.until(event):
                            yield file
        except Internal:
            for file in names.rest():
                yield file
            raise
        for file in names.rest():
            yield file

    async def _pair(
        self,
        repository: Repository,
        pair: DiffBlobsRequest.BlobPair,
        null: str,
        object_format: str,
    ) -> tuple[Side, Side]:
        with prefixed("getting left blob info"):
            left = await self._side(repository, pair.left_blob, null, object_format)
        with prefixed("getting right blob info"):
            right = await self._side(repository, pair.right_blob, null, object_format)
        if left.object_id == right.object_id:
            raise InvalidRequest("left and right blob revisions resolve to same OID")
        return left, right

    async def _side(
        self, repository: Repository, revision: bytes, null: str, object_format: str
    ) -> Side:
        if revision == null.encode():
            return Side(null, null)
        if b":" in revision:
            with prefixed("validating path-scoped revision"):
                check_revision(revision, may_have_path=True)
        else:
            with prefixed("validating blob ID"):
                check_object_id(revision.decode(errors="surrogateescape"), object_format)
        with prefixed("getting revision info"):
            info = await self._objects.info(repository, revision)
            if info is None:
                raise InvalidRequest("object not found")
        if info.type != "blob":
            raise InvalidRequest("revision is not blob")
        return Side(revision.decode(errors="surrogateescape"), info.object_id)

    async def _written(self, directory: str, kind: str, data: bytes, object_format: str) -> str:
        try:
            return await self._blocking.run(write_loose, directory, kind, data, object_format)
        except OSError as error:
            raise Internal(f"writing {kind}: {reason(error)}") from error


def _options(request: DiffBlobsRequest) -> PatchOptions:
    spaces = request.whitespace_changes
    return PatchOptions(
        ignore_all_space=spaces == DiffBlobsRequest.WHITESPACE_CHANGES_IGNORE_ALL,
        ignore_space_change=spaces == DiffBlobsRequest.WHITESPACE_CHANGES_IGNORE,
        word_diff=request.diff_mode == DiffBlobsRequest.DIFF_MODE_WORD,
    )


def _entry(old_id: str, new_id: str) -> RawEntry:
    return RawEntry(0, 0, old_id, new_id, "M", b"", b"")


def _echoed(entry: RawEntry | None, left: Side, right: Side, null: str) -> RawEntry:
    """What git says, but that there is no blob where it was given an empty one."""
    assert entry is not None
    return _entry(
        null if left.object_id == null else entry.old_id,
        null if right.object_id == null else entry.new_id,
    )


def _raw_entry(entry: ChangedPaths) -> RawEntry:
    return RawEntry(
        entry.old_mode,
        entry.new_mode,
        entry.old_blob_id,
        entry.new_blob_id,
        _LETTERS.get(entry.status, ""),
        entry.old_path or entry.path,
        entry.path,
    )


async def _messages(file: FileDiff, spool: PatchSpool) -> AsyncIterator[DiffBlobsResponse]:
    assert file.entry is not None
    response = DiffBlobsResponse(
        left_blob_id=file.entry.old_id,
        right_blob_id=file.entry.new_id,
        binary=file.binary,
        over_patch_bytes_limit=file.too_large,
        patch_size=file.patch_bytes,
        lines_added=file.lines_added,
        lines_removed=file.lines_removed,
    )
    if file.in_pieces and not file.is_pruned:
        async for piece, is_last in spool.pieces():
            yield _filled(response, piece, is_last)
            response = DiffBlobsResponse()
        return
    spool.clear()
    for piece, is_last in patch_pieces(file.patch):
        yield _filled(response, piece, is_last)
        response = DiffBlobsResponse()


def _filled(response: DiffBlobsResponse, piece: bytes, is_last: bool) -> DiffBlobsResponse:
    response.patch = piece
    if is_last:
        response.status = DiffBlobsResponse.STATUS_END_OF_PATCH
    return response
