"""DiffService: differences between commits, trees and blobs."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Final, Protocol

from gitaly._pb.diff_pb2 import (
    CommitDelta,
    CommitDeltaRequest,
    CommitDeltaResponse,
    CommitDiffRequest,
    DiffBlobsRequest,
    DiffBlobsResponse,
    DiffStats,
    DiffStatsRequest,
    DiffStatsResponse,
    FindChangedPathsRequest,
    FindChangedPathsResponse,
    GetPatchIDRequest,
    GetPatchIDResponse,
    RangeDiffRequest,
    RangeDiffResponse,
    RawDiffRequest,
    RawDiffResponse,
    RawPatchRequest,
    RawPatchResponse,
    RawRangeDiffRequest,
    RawRangeDiffResponse,
)
from gitaly._pb.shared_pb2 import Repository
from gitaly.errors import FailedPrecondition, InvalidRequest
from gitaly.git import Formats, Objects
from gitaly.git.diffs import Comparison, Diffs, LineCounts, RawEntry
from gitaly.rpc import Call
from gitaly.services.changed_paths import changed_paths_message, question_of
from gitaly.services.commit_diff import commit_diff, options_of, sides_of
from gitaly.services.diff_blobs import BlobDiffs, check_diff_blobs
from gitaly.services.messages import in_messages
from gitaly.services.range_diff import range_arguments, range_diff
from gitaly.services.tree_lookup import tree_of
from gitaly.storage import Blocking, Storages

STATS_AT_ONCE: Final = 1000
DELTAS_BYTES: Final = 5120


class TwoCommits(Protocol):
    """What most requests of this service have."""

    @property
    def repository(self) -> Repository: ...
    @property
    def left_commit_id(self) -> str: ...
    @property
    def right_commit_id(self) -> str: ...


class DiffServicer:
    """What has changed."""

    SERVICE = "gitaly.DiffService"

    def __init__(
        self,
        storages: Storages,
        diffs: Diffs,
        *,
        objects: Objects,
        formats: Formats,
        blocking: Blocking,
    ) -> None:
        self._storages = storages
        self._diffs = diffs
        self._objects = objects
        self._blob_diffs = BlobDiffs(diffs, objects, formats, blocking)
        self._blocking = blocking

    async def CommitDiff(self, request: CommitDiffRequest, _: Call) -> AsyncIterator[list[bytes]]:
        comparison = await self._trees(self._comparison(request, *request.paths))
        options = options_of(request)
        responses = commit_diff(self._diffs, self._blocking, comparison, options)
        async with aclosing(responses):
            async for some in responses:
                yield some

    async def CommitDelta(
        self, request: CommitDeltaRequest, _: Call
    ) -> AsyncIterator[CommitDeltaResponse]:
        comparison = self._comparison(request, *request.paths)
        deltas: list[CommitDelta] = []
        size = 0
        async with aclosing(self._diffs.entries(comparison, "--find-renames")) as batches:
            async for batch in batches:
                for entry in (part for whole in batch for part in whole.without_type_change()):
                    deltas.append(CommitDelta(**sides_of(entry)))
                    size += _size(entry)
                    if size > DELTAS_BYTES:
                        yield CommitDeltaResponse(deltas=deltas)
                        deltas, size = [], 0
        if deltas:
            yield CommitDeltaResponse(deltas=deltas)

    async def RawDiff(self, request: RawDiffRequest, _: Call) -> AsyncIterator[RawDiffResponse]:
        text = self._diffs.text("diff", self._comparison(request), ["--full-index"])
        async with aclosing(text):
            async for piece in text:
                yield RawDiffResponse(data=piece)

    async def RawPatch(self, request: RawPatchRequest, _: Call) -> AsyncIterator[RawPatchResponse]:
        # Without --always, git before 2.41 leaves out commits that change nothing.
        flags = ["--stdout", "--always", "--signature=GitLab"]
        text = self._diffs.text("format-patch", self._comparison(request), flags)
        async with aclosing(text):
            async for piece in text:
                yield RawPatchResponse(data=piece)

    async def DiffStats(
        self, request: DiffStatsRequest, _: Call
    ) -> AsyncIterator[DiffStatsResponse]:
        stats: list[DiffStats] = []
        comparison = await self._trees(self._comparison(request))
        async with aclosing(self._diffs.line_counts(comparison)) as batches:
            async for batch in batches:
                stats += map(_stats, batch)
                while len(stats) >= STATS_AT_ONCE:
                    yield DiffStatsResponse(stats=stats[:STATS_AT_ONCE])
                    del stats[:STATS_AT_ONCE]
        if stats:
            yield DiffStatsResponse(stats=stats)

    async def FindChangedPaths(
        self, request: FindChangedPathsRequest, _: Call
    ) -> AsyncIterator[FindChangedPathsResponse]:
        repository = self._storages.existing(request.repository)

        async def resolve(revision: str, kind: str) -> str:
            info = await self._objects.info(repository, f"{revision}^{{{kind}}}".encode())
            return info.object_id if info is not None else ""

        question = await question_of(request, resolve)
        found = self._diffs.changed_paths(repository, question.lines, question.flags)
        async with aclosing(found):
            batches = (map(changed_paths_message, batch) async for batch in found)
            async for paths in in_messages(batches):
                yield FindChangedPathsResponse(paths=paths)

    async def DiffBlobs(
        self, request: DiffBlobsRequest, _: Call
    ) -> AsyncIterator[DiffBlobsResponse]:
        repository = self._storages.existing_objects(request.repository)
        check_diff_blobs(request)
        async with aclosing(self._blob_diffs.responses(repository, request)) as responses:
            async for response in responses:
                yield response

    async def GetPatchID(self, request: GetPatchIDRequest, _: Call) -> GetPatchIDResponse:
        repository = self._storages.existing(request.repository)
        if not request.old_revision:
            raise InvalidRequest("empty OldRevision")
        if not request.new_revision:
            raise InvalidRequest("empty NewRevision")
        comparison = Comparison(
            repository=repository,
            old=_revision(request.old_revision.decode(errors="surrogateescape")),
            new=_revision(request.new_revision.decode(errors="surrogateescape")),
        )
        flags = ["-U0"] if request.context_free else []
        patch_id = await self._diffs.patch_id(comparison, *flags)
        if not patch_id:
            raise FailedPrecondition("no difference between old and new revision")
        return GetPatchIDResponse(patch_id=patch_id)

    async def RawRangeDiff(
        self, request: RawRangeDiffRequest, _: Call
    ) -> AsyncIterator[RawRangeDiffResponse]:
        repository = self._storages.existing(request.repository)
        text = self._diffs.range_diff_text(repository, range_arguments(request))
        async with aclosing(text):
            async for piece in text:
                yield RawRangeDiffResponse(data=piece)

    async def RangeDiff(
        self, request: RangeDiffRequest, _: Call
    ) -> AsyncIterator[RangeDiffResponse]:
        repository = self._storages.existing(request.repository)
        pairs = self._diffs.range_diff(repository, range_arguments(request))
        async with aclosing(range_diff(pairs)) as responses:
            async for response in responses:
                yield response

    def _comparison(self, request: TwoCommits, *paths: bytes) -> Comparison:
        """Raises what `Storages.existing` does, and InvalidRequest."""
        repository = self._storages.existing(request.repository)
        if not request.left_commit_id:
            raise InvalidRequest("empty LeftCommitId")
        if not request.right_commit_id:
            raise InvalidRequest("empty RightCommitId")
        if any(b"\0" in path for path in paths):
            raise InvalidRequest("path can't contain NUL")
        return Comparison(
            repository=repository,
            old=_revision(request.left_commit_id),
            new=_revision(request.right_commit_id),
            paths=paths,
        )

    async def _trees(self, comparison: Comparison) -> Comparison:
        """The same comparison, if possible said by trees."""
        sides = [
            await tree_of(
                self._objects,
                comparison.repository,
                side.encode(errors="surrogateescape"),
            )
            for side in (comparison.old, comparison.new)
        ]
        old, new = (side.decode(errors="surrogateescape") for side in sides)
        return replace(comparison, old=old, new=new)


def _revision(revision: str) -> str:
    if "\0" in revision:
        raise InvalidRequest("revision can't contain NUL")
    return revision


def _size(entry: RawEntry) -> int:
    """Roughly, in a message."""
    return 8 + len(entry.old_id + entry.new_id) + len(entry.old_path) + len(entry.new_path)


def _stats(counts: LineCounts) -> DiffStats:
    path, old_path, additions, deletions = counts
    return DiffStats(path=path, old_path=old_path, additions=additions, deletions=deletions)
