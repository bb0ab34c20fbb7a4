"""Entries of trees by revision and path. Source: Gitaly, internal/git/catfile/tree_entries.go."""

from gitaly.git import (
    Objects,
    RepositoryPaths,
    TreeEntry,
    find_entry,
)
from gitaly.services.tree_paths import clean_path


class EntryFinder:
    """Finds entries of one repository; remembers the tree in which it looked last."""

    def __init__(self, objects: Objects, repository: RepositoryPaths) -> None:
        self._objects = objects
        self._repository = repository
        self._seen: tuple[bytes, bytes] = (b"", b"")  # `revision:directory`, and its content

    async def find(self, revision: bytes, path: bytes) -> TreeEntry | None:
        """None: there is no such revision, or nothing at the path, or the path is not clean.

        "./a", "a//b", "/" and "." are not clean: paths are compared as they are.
        """
        if not path or path.startswith((b"/", b"../")) or clean_path(path) != path:
            return None
        directory, _, name = path.rpartition(b"/")
        where = revision + b":" + directory
        if self._seen[0] != where:
            tree = await self._objects.read(self._repository, where)
            is_tree = tree is not None and tree.type == "tree"
            self._seen = (where, tree.data if tree is not None and is_tree else b"")
            self._id_bytes = len(tree.object_id) // 2 if tree is not None else 20
        return find_entry(self._seen[1], name, self._id_bytes)
