"""What git's commands say about differences, parsed as it comes."""

from gitaly.git.diffs.changed_paths import ChangedPath
from gitaly.git.diffs.commands import Diffs
from gitaly.git.diffs.comparison import Comparison, PatchOptions
from gitaly.git.diffs.head_attributes import AttributeOptions, HeadAttributes
from gitaly.git.diffs.limits import Limits
from gitaly.git.diffs.numstat import LineCounts
from gitaly.git.diffs.pairs import PairNames, PairsRefused, check_pairs, trees_of
from gitaly.git.diffs.patches import DiffParser, Event, FileDiff, PatchText
from gitaly.git.diffs.range_diff import CommitPair, RangeDiffEvent
from gitaly.git.diffs.raw import DiffUnreadable, RawEntry

__all__ = [
    "AttributeOptions",
    "ChangedPath",
    "CommitPair",
    "Comparison",
    "DiffParser",
    "DiffUnreadable",
    "Diffs",
    "Event",
    "FileDiff",
    "HeadAttributes",
    "Limits",
    "LineCounts",
    "PairNames",
    "PairsRefused",
    "PatchOptions",
    "PatchText",
    "RangeDiffEvent",
    "RawEntry",
    "check_pairs",
    "trees_of",
]
