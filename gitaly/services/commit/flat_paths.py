"""How far a click on a directory leads: through directories that hold nothing but another one.

Source: Gitaly, internal/gitaly/service/commit/get_tree_entries.go.
"""

from collections.abc import Sequence
from typing import Final

from gitaly.git import Objects, RepositoryPaths, TreeEntry, parse_tree

LEVELS: Final = 9  # further down
TOGETHER: Final = 64  # trees that are held in memory


async def flat_paths(
    objects: Objects, repository: RepositoryPaths, entries: Sequence[TreeEntry]
) -> list[bytes]:
    """For each entry, whose name is its path: that path, or that of the directory it leads to."""
    paths = [entry.name for entry in entries]
    open_places = [place for place, entry in enumerate(entries) if entry.type == "tree"]
    for start in range(0, len(open_places), TOGETHER):
        some = {place: entries[place].object_id for place in open_places[start : start + TOGETHER]}
        for _ in range(LEVELS):
            if not some:
                break
            some = await _one_level(objects, repository, some, paths)
    return paths


async def _one_level(
    objects: Objects, repository: RepositoryPaths, trees: dict[int, str], paths: list[bytes]
) -> dict[int, str]:
    """The only children, by the places of their entries, where they are directories."""
    ids = [object_id.encode() for object_id in trees.values()]
    found = await objects.read_many(repository, ids)
    deeper: dict[int, str] = {}
    for (place, object_id), tree in zip(trees.items(), found, strict=True):
        children = parse_tree(b"" if tree is None else tree.data, len(object_id) // 2)
        first, second = next(children, None), next(children, None)
        if first is not None and second is None and first.type == "tree":
            paths[place] += b"/" + first.name
            deeper[place] = first.object_id
    return deeper
