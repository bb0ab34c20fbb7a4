"""The git command line and the object database as typed functions."""

from gitaly.git.account import ACCOUNT, Account, current_account
from gitaly.git.command import CompletedGit, Git, GitFailed
from gitaly.git.exit_status import Exit
from gitaly.git.format import Format, Formats
from gitaly.git.handles import Handles
from gitaly.git.invocation import NO_HOOKS, Hooks
from gitaly.git.metrics import PrometheusCommandMetrics
from gitaly.git.os_errors import reason
from gitaly.git.paths import RepositoryPaths
from gitaly.git.pipes import OutputTooLarge, PipeReader, PipeWriter
from gitaly.git.process import Child, CommandLabel, CommandMetrics, Processes
from gitaly.git.quoting import go_quoted
from gitaly.git.reference_list import ListingFailed
from gitaly.git.reference_names import is_valid_reference_name
from gitaly.git.references import (
    ListedReference,
    ReferenceQuery,
    References,
    SortKey,
)
from gitaly.git.references_by_git import GitReferences
from gitaly.git.references_in_process import InProcessReferences
from gitaly.git.signing_key import public_signing_key
from gitaly.git.spawner import (
    Born,
    End,
    Launch,
    OwnChild,
    PosixSpawner,
    Spawner,
    StoppedByLimit,
    keep_inherited_descriptors,
    posix_spawn,
)
from gitaly.git.stdio import DEVNULL, PIPE, STDOUT
from gitaly.git.subcommands import HooksUndecided, InvalidArgument, checked_options
from gitaly.git.version import GitBinary, GitUnusable, GitVersion, find_git

__all__ = [
    "ACCOUNT",
    "DEVNULL",
    "NO_HOOKS",
    "PIPE",
    "STDOUT",
    "Account",
    "Born",
    "Child",
    "CommandLabel",
    "CommandMetrics",
    "CompletedGit",
    "End",
    "Exit",
    "Format",
    "Formats",
    "Git",
    "GitBinary",
    "GitFailed",
    "GitReferences",
    "GitUnusable",
    "GitVersion",
    "Handles",
    "Hooks",
    "HooksUndecided",
    "InProcessReferences",
    "InvalidArgument",
    "Launch",
    "ListedReference",
    "ListingFailed",
    "OutputTooLarge",
    "OwnChild",
    "PipeReader",
    "PipeWriter",
    "PosixSpawner",
    "Processes",
    "PrometheusCommandMetrics",
    "ReferenceQuery",
    "References",
    "RepositoryPaths",
    "SortKey",
    "Spawner",
    "StoppedByLimit",
    "checked_options",
    "current_account",
    "find_git",
    "go_quoted",
    "is_valid_reference_name",
    "keep_inherited_descriptors",
    "posix_spawn",
    "public_signing_key",
    "reason",
]
