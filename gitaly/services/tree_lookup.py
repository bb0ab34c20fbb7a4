"""Entries of trees by revision and path. Source: Gitaly, internal/git/catfile/tree_entries.go."""

from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from gitaly.errors import Internal
from gitaly.git import (
    AmbiguousRevision,
    Objects,
    RepositoryPaths,
    TreeEntry,
    checked_revision,
    find_entry,
    parse_tree,
)
from gitaly.services.tree_paths import clean_path

KEPT_BYTES: Final = 4 << 20  # of trees, for one call
DEEP: Final = 16  # levels of directories that are looked up one by one


async def tree_of(objects: Objects, repository: RepositoryPaths, revision: bytes) -> bytes:
    """The tree that a revision leads to; the revision itself if that is not clear.

    For a git that compares: told the trees, it opens no commit-graph, which takes it half a
    millisecond.
    """
    if revision.startswith(b"-") or b"\0" in revision:
        return revision
    try:
        found = await objects.info(repository, revision + b"^{tree}")
    except AmbiguousRevision:
        return revision
    return revision if found is None else found.object_id.encode()


class EntryFinder:
    """Finds entries of one repository; remembers some of the trees in which it has looked."""

    def __init__(self, objects: Objects, repository: RepositoryPaths) -> None:
        self._objects = objects
        self._repository = repository
        self._roots: dict[bytes, str | None] = {}  # of revisions: the ids of their trees
        self._trees: LRUCache[tuple[str, bytes], bytes] = LRUCache(KEPT_BYTES, _kept_size)

    async def find(self, revision: bytes, path: bytes) -> TreeEntry | None:
        """None: there is no such revision, or nothing at the path, or the path is not clean.

        "./a", "a//b", "/" and "." are not clean: paths are compared as they are. Raises
        InvalidRequest for a directory with a NUL in its name.
        """
        if not path or path.startswith((b"/", b"../")) or clean_path(path) != path:
            return None
        directory, _, name = path.rpartition(b"/")
        checked_revision(directory)
        root = await self._root(revision)
        if root is None:
            return None
        return find_entry(await self._tree(root, directory), name, len(root) // 2)

    async def _root(self, revision: bytes) -> str | None:
        if revision not in self._roots:
            info = await self._objects.info(self._repository, revision + b"^{tree}")
            self._roots[revision] = info.object_id if info is not None else None
        return self._roots[revision]

    async def _tree(self, root: str, directory: bytes) -> bytes:
        """What is in a directory; empty, if it is none."""
        key = (root, directory)
        data = self._trees.get(key)
        if data is None:
            where = await self._where(root, directory)
            tree = await self._objects.read(self._repository, where) if where else None
            data = tree.data if tree is not None and tree.type == "tree" else b""
            if _kept_size(data) <= KEPT_BYTES:
                self._trees[key] = data
        return data

    async def _where(self, root: str, directory: bytes) -> bytes:
        """A revision that leads to a directory; empty: nothing does.

        After the first one it is looked up in the directory above: others will be there, too.
        """
        if not directory or not self._trees or directory.count(b"/") >= DEEP:
            return root.encode() + b":" + directory
        above, _, name = directory.rpartition(b"/")
        entry = find_entry(await self._tree(root, above), name, len(root) // 2)
        return entry.object_id.encode() if entry is not None else b""


def _kept_size(data: bytes) -> int:
    return len(data) + 100


@dataclass(frozen=True, slots=True)
class Listed:
    """What `git ls-tree <revision> -- <path>` lists."""

    entries: list[TreeEntry]  # their names are whole paths
    directory: bytes  # all of them are in it; with a slash, or empty for the root


async def listed_entries(
    objects: Objects, repository: RepositoryPaths, revision: bytes, path: bytes
) -> Listed:
    """`dir/` lists what is in it, `dir` itself; "" and "/" the root. What is not there is empty.

    Raises Internal, in the words of a git that failed, for a revision that leads to no tree and
    for a path that leads out of it.
    """
    if await objects.info(repository, revision + b"^{tree}") is None:
        raise Internal("exit status 128")
    cleaned = clean_path(b"." if path in (b"", b"/") else path)
    if (path.startswith(b"/") and path != b"/") or cleaned == b".." or cleaned.startswith(b"../"):
        raise Internal("exit status 128")
    is_inside = cleaned == b"." or path.endswith((b"/", b"/."))
    if cleaned != b".":
        entry = await EntryFinder(objects, repository).find(revision, cleaned)
        if not is_inside or (entry is not None and entry.type == "commit"):  # of a submodule
            directory = cleaned.rpartition(b"/")[0]
            directory += b"/" if directory else b""
            return Listed([entry._replace(name=cleaned)] if entry is not None else [], directory)
    directory = b"" if cleaned == b"." else cleaned + b"/"
    tree = await objects.read(repository, revision + b":" + directory)
    if tree is None or tree.type != "tree":
        return Listed([], directory)
    entries = parse_tree(tree.data, len(tree.object_id) // 2)
    return Listed([entry._replace(name=directory + entry.name) for entry in entries], directory)
