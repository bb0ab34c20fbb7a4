"""TreeEntry and ListFiles: what lies at a path, and all paths."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.commit_pb2 import (
    ListFilesRequest,
    ListFilesResponse,
    TreeEntryRequest,
    TreeEntryResponse,
)
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NodeError, NotFound
from gitaly.git import NO_LIMIT, GitFailed, RepositoryPaths, git_lines
from gitaly.rpc import Call
from gitaly.services.commit.reading import CommitReading
from gitaly.services.messages import sized_messages
from gitaly.services.revisions import check_revision
from gitaly.services.tree_lookup import EntryFinder

_TYPES: Final[Mapping[str, TreeEntryResponse.ObjectType]] = MappingProxyType(
    {"commit": TreeEntryResponse.COMMIT, "tree": TreeEntryResponse.TREE}
)


class Entries(CommitReading):
    """Entries of trees, and the content of one."""

    async def TreeEntry(
        self, request: TreeEntryRequest, _: Call
    ) -> AsyncIterator[TreeEntryResponse]:
        repository = self._storages.existing(request.repository)
        _check_tree_entry(request)
        path = request.path.rstrip(b"/") if len(request.path) > 1 else request.path
        entry = await EntryFinder(self._objects, repository).find(request.revision, path)
        if entry is None:
            raise NotFound("tree entry not found", path=path.decode(errors="replace"))
        if entry.type == "commit":
            yield TreeEntryResponse(
                type=TreeEntryResponse.COMMIT, mode=entry.mode, oid=entry.object_id
            )
            return
        info = await self._objects.info(repository, entry.object_id.encode())
        if info is None:
            raise Internal("object not found")
        answer = TreeEntryResponse(
            type=_TYPES.get(entry.type, TreeEntryResponse.BLOB),
            oid=entry.object_id,
            size=info.size,
            mode=entry.mode,
        )
        if entry.type == "tree":
            yield answer
            return
        if info.type != "blob":
            raise Internal(
                f"mismatched object type: tree-oid={entry.object_id} object-oid={info.object_id}"
                f" entry-type=BLOB object-type={info.type}"
            )
        if 0 < request.max_size < info.size:
            raise FailedPrecondition(
                f"object size ({info.size}) is bigger than the maximum allowed size"
                f" ({request.max_size})"
            )
        pieces = self._objects.pieces(repository, info, request.limit or NO_LIMIT)
        async with aclosing(pieces):
            async for piece in pieces:
                answer.data = piece
                yield answer
                answer = TreeEntryResponse()
        if not info.size:
            yield answer

    async def ListFiles(
        self, request: ListFilesRequest, _: Call
    ) -> AsyncIterator[ListFilesResponse]:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision, may_be_empty=True)
        revision = request.revision or await self._default_branch(repository)
        object_id = await self._objects.resolve(repository, revision)
        if object_id is None:
            yield ListFilesResponse()
            return
        lines = git_lines(
            self._git,
            "ls-tree",
            repository,
            flags=["-z", "-r", "--full-tree", "--full-name"],
            args=[object_id],
            separator=b"\0",
        )
        async with aclosing(lines), aclosing(_blob_paths(lines)) as paths:
            async for some in sized_messages(paths, len):
                yield ListFilesResponse(paths=some)

    async def _default_branch(self, repository: RepositoryPaths) -> bytes:
        try:
            branch = await self._references.default_branch(repository)
        except NodeError as error:
            raise NotFound('revision not found ""') from error
        if not branch:
            raise FailedPrecondition("repository does not have a default branch")
        return branch


def _check_tree_entry(request: TreeEntryRequest) -> None:
    check_revision(request.revision)
    if not request.path:
        raise InvalidRequest("empty Path")
    if request.limit < 0:
        raise InvalidRequest("negative Limit")
    if request.max_size < 0:
        raise InvalidRequest("negative MaxSize")


async def _blob_paths(
    lines: AsyncIterator[list[bytes]],
) -> AsyncGenerator[list[bytes], None]:
    """Of what ls-tree writes; how it ends does not matter: what is no tree has no files."""
    try:
        async for batch in lines:
            yield [line.partition(b"\t")[2] for line in batch if b" blob " in line[:12]]
    except GitFailed:
        return
