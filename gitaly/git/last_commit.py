"""The last commit that changed a path, where that is not long ago: read in this process.

The walk of `git log -1 -- <path>` is a chain: a commit in which the path is as in a parent leads to
the first such parent, and any other commit is the answer. After a hundred or so git goes on from
where the walk has come to. Source: git-log(1), History Simplification; git, revision.c.
"""

from typing import Final, NamedTuple

import pygit2

from gitaly.git.handles import Undecided
from gitaly.git.newest_commits import PLAIN_COMMIT
from gitaly.git.objects import LastCommit
from gitaly.git.revisions_in_process import resolve, small_content
from gitaly.git.trees import TreeEntry, find_entry

MOST_STEPS: Final = 100  # commits: 2 ms
MOST_TREE_BYTES: Final = 256 * 1024  # of all that is read: 2 ms, too
_KEPT_TREES: Final = 16
DIRECTORY: Final = 0o40000
# Others are written by odd programs, and git takes some of them for the same.
_PLAIN_MODES: Final = frozenset({0o100644, 0o100755, 0o120000, DIRECTORY})
_PARENT_BYTES: Final = len("parent ") + 40 + 1
_MAGIC: Final = b"*?[\\"


class _Commit(NamedTuple):
    tree: str
    parents: tuple[str, ...]


def last_commit(handle: pygit2.Repository, revision: bytes, path: bytes) -> LastCommit:
    """The commit that changed a path last, as seen from a revision.

    Parents are those that the objects name: not for a repository with grafts. Raises Undecided for
    what is not plainly a revision that leads to a commit, for a path that git may take for a
    pattern, and where an object is odd or missing.
    """
    names = _names(path)
    if revision.startswith(b"-") or b":" in revision or "log.follow" in handle.config:
        raise Undecided
    tip = resolve(handle, revision + b"^{commit}")
    if tip is None:
        raise Undecided
    comparison = _Comparison(handle, names)
    for _ in range(MOST_STEPS):
        commit = _commit(handle, tip)
        if not commit.parents:
            return LastCommit(tip if comparison.exists(commit.tree) else None, None)
        for parent in commit.parents:
            if comparison.is_same(commit.tree, _commit(handle, parent).tree):
                break
        else:
            return LastCommit(tip, None)
        tip = parent
        if comparison.read_bytes > MOST_TREE_BYTES:
            break
    return LastCommit(None, tip)


def _names(path: bytes) -> list[bytes]:
    names = path.split(b"/")
    if path.startswith(b":") or any(name in (b"", b".", b"..") for name in names):
        raise Undecided
    if b"\0" in path or any(byte in path for byte in _MAGIC):
        raise Undecided
    return names


def _commit(handle: pygit2.Repository, object_id: str) -> _Commit:
    found = small_content(handle, object_id)
    plain = PLAIN_COMMIT.match(found[1]) if found is not None and found[0] == "commit" else None
    if found is None or plain is None:
        raise Undecided
    lines = plain[1]
    starts = range(7, len(lines), _PARENT_BYTES)
    return _Commit(found[1][5:45].decode(), tuple(lines[x : x + 40].decode() for x in starts))


class _Comparison:
    """Compares what is at one path in trees of commits that follow each other."""

    def __init__(self, handle: pygit2.Repository, names: list[bytes]) -> None:
        self.read_bytes = 0
        self._handle = handle
        self._names = names
        self._trees: dict[str, bytes] = {}

    def is_same(self, one: str, other: str) -> bool:
        """Whether the path is the same in two trees, or in none of them."""
        if one == other:
            return True
        for depth, name in enumerate(self._names):
            mine, others = self._entry(one, name), self._entry(other, name)
            if mine == others:
                return True
            below = self._names[depth + 1 :]
            if not below:
                return False
            directories = [x.object_id for x in (mine, others) if x and x.mode == DIRECTORY]
            if len(directories) < 2:
                return not any(self.exists(tree, below) for tree in directories)
            one, other = directories
        return False

    def exists(self, tree: str, names: list[bytes] | None = None) -> bool:
        """Whether there is something at the path, or at another one."""
        *above, last = self._names if names is None else names
        for name in above:
            entry = self._entry(tree, name)
            if entry is None or entry.mode != DIRECTORY:
                return False
            tree = entry.object_id
        return self._entry(tree, last) is not None

    def _entry(self, tree: str, name: bytes) -> TreeEntry | None:
        data = self._trees.get(tree)
        if data is None:
            found = small_content(self._handle, tree)
            if found is None or found[0] != "tree":
                raise Undecided
            if len(self._trees) >= _KEPT_TREES:
                self._trees.clear()
            data = self._trees[tree] = found[1]
            self.read_bytes += len(data)
        entry = find_entry(data, name)
        if entry is not None and entry.mode not in _PLAIN_MODES:
            raise Undecided
        return entry
