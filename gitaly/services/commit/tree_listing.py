"""GetTreeEntries: the entries of a directory, or of all directories below it, page by page.

Source: Gitaly, internal/gitaly/service/commit/get_tree_entries.go.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.commit_pb2 import (
    GetTreeEntriesError,
    GetTreeEntriesRequest,
    GetTreeEntriesResponse,
    TreeEntry,
)
from gitaly._pb.errors_pb2 import PathError, ResolveRevisionError
from gitaly._pb.shared_pb2 import PaginationCursor
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.git import RepositoryPaths, git_lines, parse_tree
from gitaly.git import TreeEntry as Entry
from gitaly.rpc import Call
from gitaly.services.commit.flat_paths import flat_paths
from gitaly.services.commit.reading import CommitReading
from gitaly.services.commit.tree_pages import TreePage
from gitaly.services.messages import in_messages
from gitaly.services.revisions import check_revision

_TYPES: Final[Mapping[str, TreeEntry.EntryType]] = MappingProxyType(
    {"commit": TreeEntry.COMMIT, "tree": TreeEntry.TREE, "blob": TreeEntry.BLOB}
)
_TREES_FIRST: Final[Mapping[str, int]] = MappingProxyType({"tree": 0, "blob": 1, "commit": 2})
_SORT_KEYS: Final[Mapping[int, Callable[[Entry], int | bytes]]] = MappingProxyType(
    {
        GetTreeEntriesRequest.TREES_FIRST: lambda entry: _TREES_FIRST[entry.type],
        GetTreeEntriesRequest.FILESYSTEM: lambda entry: entry.name,
    }
)


class TreeListing(CommitReading):
    """Directories."""

    async def GetTreeEntries(
        self, request: GetTreeEntriesRequest, _: Call
    ) -> AsyncIterator[GetTreeEntriesResponse]:
        repository = self._storages.existing(request.repository)
        _check(request)
        prefix = b"" if request.path == b"." else request.path
        page = TreePage(request)
        tree_id = await self._listed_tree(repository, request, page, prefix)
        read = self._below if request.recursive else self._inside
        async with (
            aclosing(_sorted(read(repository, tree_id, prefix), request.sort)) as entries,
            aclosing(page.of(entries, tree_id)) as batches,
            aclosing(self._built(repository, request, batches)) as built,
        ):
            is_first = True
            async for some in in_messages(built):
                cursor = PaginationCursor(next_cursor=page.cursor) if is_first else None
                yield GetTreeEntriesResponse(entries=some, pagination_cursor=cursor)
                is_first = False

    async def _listed_tree(
        self,
        repository: RepositoryPaths,
        request: GetTreeEntriesRequest,
        page: TreePage,
        prefix: bytes,
    ) -> str:
        """The tree to list: that of the page before, so that a branch that moves shifts nothing."""
        treeish, path = request.revision, prefix
        if page.tree_id:
            treeish, path = page.tree_id.encode(), b""
            check_revision(treeish)
        is_relative = path.startswith((b"./", b"../"))  # to nothing, in a bare repository
        object_id = None
        if not is_relative:
            object_id = await self._objects.resolve(repository, treeish + b":" + path)
        if object_id is None:
            kind = NotFound if request.recursive else InvalidRequest
            raise _with_revision(kind("invalid revision or path"), request)
        info = await self._objects.info(repository, object_id.encode())
        if info is None and path:
            raise _with_revision(NotFound("revision doesn't exist"), request)
        if info is None:
            raise Internal("reading tree: check object type: object not found")
        if info.type != "tree":
            raise _with_revision(InvalidRequest("path not treeish"), request)
        return object_id

    async def _inside(
        self, repository: RepositoryPaths, tree_id: str, prefix: bytes
    ) -> AsyncGenerator[list[Entry], None]:
        """The entries of the tree itself. Their names become paths."""
        tree = await self._objects.read(repository, tree_id.encode())
        if tree is None:
            raise Internal("reading tree: object not found")
        start = _directory(prefix)
        yield [
            Entry(mode, start + name, object_id)
            for mode, name, object_id in parse_tree(tree.data, len(tree_id) // 2)
        ]

    async def _below(
        self, repository: RepositoryPaths, tree_id: str, prefix: bytes
    ) -> AsyncGenerator[list[Entry], None]:
        """The entries of the tree and of all trees below it, each tree before what is in it."""
        flags = ["-z", "-r", "-t"]
        lines = git_lines(
            self._git, "ls-tree", repository, flags=flags, args=[tree_id], separator=b"\0"
        )
        start = _directory(prefix)
        async with aclosing(lines):
            async for batch in lines:
                cut = (line.split(b" ", 2) for line in batch)
                yield [
                    Entry(int(mode, 8), start + name, object_id.decode())
                    for mode, _, rest in cut
                    for object_id, _, name in (rest.partition(b"\t"),)
                ]

    async def _built(
        self,
        repository: RepositoryPaths,
        request: GetTreeEntriesRequest,
        batches: AsyncIterator[list[Entry]],
    ) -> AsyncGenerator[list[TreeEntry], None]:
        """The entries as messages."""
        commit_id = request.revision.decode(errors="replace")
        has_flat_paths = not (request.recursive or request.skip_flat_paths)
        async for batch in batches:
            flat: list[bytes] = [b""] * len(batch)
            if has_flat_paths:
                flat = await flat_paths(self._objects, repository, batch)
            yield [
                TreeEntry(
                    oid=entry.object_id,
                    path=entry.name,
                    type=_TYPES[entry.type],
                    mode=entry.mode,
                    commit_oid=commit_id,
                    flat_path=flat_path,
                )
                for entry, flat_path in zip(batch, flat, strict=True)
            ]


async def _sorted(
    batches: AsyncGenerator[list[Entry], None], order: int
) -> AsyncGenerator[list[Entry], None]:
    """Before the page is cut out: then all of them have to be in memory."""
    key = _SORT_KEYS.get(order)
    async with aclosing(batches):
        if key is None:
            async for batch in batches:
                yield batch
            return
        entries = [entry async for batch in batches for entry in batch]
    entries.sort(key=key)
    yield entries


def _check(request: GetTreeEntriesRequest) -> None:
    check_revision(request.revision)
    if not request.path:
        empty = InvalidRequest("empty path")
        path = PathError(error_type=PathError.ERROR_TYPE_EMPTY_PATH)
        empty.details = (GetTreeEntriesError(path=path),)
        raise empty


def _with_revision(error: NodeError, request: GetTreeEntriesRequest) -> NodeError:
    resolve = ResolveRevisionError(revision=request.revision)
    error.details = (GetTreeEntriesError(resolve_tree=resolve),)
    return error


def _directory(path: bytes) -> bytes:
    """What stands before the names of entries: "dir/", or nothing for the root."""
    return path.rstrip(b"/") + b"/" if path else b""
