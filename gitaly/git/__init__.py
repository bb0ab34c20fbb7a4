"""The git command line and the object database as typed functions."""

from gitaly.git.account import ACCOUNT, Account, current_account
from gitaly.git.command import CompletedGit, Git, GitFailed
from gitaly.git.exit_status import Exit
from gitaly.git.format import Format, Formats
from gitaly.git.invocation import NO_HOOKS, Hooks
from gitaly.git.metrics import PrometheusCommandMetrics
from gitaly.git.paths import RepositoryPaths
from gitaly.git.pipes import OutputTooLarge, PipeReader, PipeWriter
from gitaly.git.process import Child, CommandLabel, CommandMetrics, Processes
from gitaly.git.quoting import go_quoted
from gitaly.git.spawner import (
    Born,
    Launch,
    PosixSpawner,
    Spawner,
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
    "Exit",
    "Format",
    "Formats",
    "Git",
    "GitBinary",
    "GitFailed",
    "GitUnusable",
    "GitVersion",
    "Hooks",
    "HooksUndecided",
    "InvalidArgument",
    "Launch",
    "OutputTooLarge",
    "PipeReader",
    "PipeWriter",
    "PosixSpawner",
    "Processes",
    "PrometheusCommandMetrics",
    "RepositoryPaths",
    "Spawner",
    "checked_options",
    "current_account",
    "find_git",
    "go_quoted",
    "keep_inherited_descriptors",
    "posix_spawn",
]
