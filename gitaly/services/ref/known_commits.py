"""Commits that FindLocalBranches told last: clients ask for the same branches again and again."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from gitaly._pb.shared_pb2 import GitCommit

LIMIT_BYTES: Final = 16 << 20  # for all repositories together
OVERHEAD_BYTES: Final = 1500  # of a message in memory, beside what it says


class KnownCommits:
    """Messages by repository and object id. What an id stands for never changes."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._by_path: OrderedDict[str, dict[str, GitCommit]] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return self._bytes

    def of(self, path: str) -> Mapping[str, GitCommit]:
        """Those of a repository, which is now the last that goes."""
        return self._of(path)

    def _of(self, path: str) -> dict[str, GitCommit]:
        self._by_path.setdefault(path, {})
        self._by_path.move_to_end(path)
        return self._by_path[path]

    def add(self, path: str, commits: Mapping[str, GitCommit]) -> None:
        """Know more of a repository; others are forgotten for it, in the end its own too."""
        known = self._of(path)
        for object_id, commit in commits.items():
            if object_id not in known:
                self._bytes += _size(commit)
                known[object_id] = commit
        while self._bytes > self._limit_bytes and self._by_path:
            _, forgotten = self._by_path.popitem(last=False)
            self._bytes -= sum(map(_size, forgotten.values()))


def _size(commit: GitCommit) -> int:
    return commit.ByteSize() + OVERHEAD_BYTES
