"""What is compared, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gitaly.git.diffs.limits import Limits
from gitaly.git.paths import RepositoryPaths


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared: two revisions of anything that has a tree, or two blobs."""

    repository: RepositoryPaths
    old: str
    new: str
    paths: Sequence[bytes] = ()
    literal_paths: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOptions:
    """How patches are made."""

    renames: str = ""  # a threshold, "30%"; empty: git's own
    ignore_all_space: bool = False
    ignore_space_change: bool = False
    word_diff: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def ignores_space(self) -> bool:
        return self.ignore_all_space or self.ignore_space_change

    def flags(self) -> list[str]:
        """For `git diff`."""
        return [
            *([f"--find-renames={self.renames}"] if self.renames else []),
            *(["--word-diff=porcelain"] if self.word_diff else []),
            *(["--ignore-all-space"] if self.ignore_all_space else []),
            *(["--ignore-space-change"] if self.ignore_space_change else []),
        ]
