"""Entries of trees by revision and path. Source: Gitaly, internal/git/catfile/tree_entries.go."""

from dataclasses import dataclass

from gitaly.errors import Internal
from gitaly.git import Objects, RepositoryPaths, TreeEntry, find_entry, parse_tree
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
