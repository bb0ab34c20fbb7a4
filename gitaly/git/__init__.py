"""The git command line and the object database as typed functions."""

from gitaly.git.account import ACCOUNT, Account, current_account
from gitaly.git.all_objects import all_objects
from gitaly.git.alternates import alternates_of, named_alternates
from gitaly.git.archive import (
    Archive,
    ArchiveFormat,
    archive_options,
    archive_pieces,
    check_archive,
)
from gitaly.git.arguments import fit
from gitaly.git.bundles import EmptyBundle, bundle, fast_export
from gitaly.git.catfile_metrics import CatfileCollector
from gitaly.git.catfile_pool import CatfilePool
from gitaly.git.checksum import references_checksum
from gitaly.git.command import CompletedGit, Git, GitFailed
from gitaly.git.commit_fields import (
    CommitFields,
    Person,
    commit_fields_by_git,
    has_own_parents,
    plain_fields,
)
from gitaly.git.commit_object import Commit, parse_commit, signed_payload
from gitaly.git.cpu import GroupUsage, cpu_seconds_of_groups, usage_of_groups
from gitaly.git.default_config import EMPTY_TREE
from gitaly.git.entry_history import last_commits
from gitaly.git.exit_status import Exit
from gitaly.git.file_attributes import FileAttribute, file_attributes
from gitaly.git.format import Format, Formats
from gitaly.git.fsck import fsck
from gitaly.git.grep import grep
from gitaly.git.handles import Handles
from gitaly.git.identity import Identity, parse_identity, parse_seconds
from gitaly.git.invocation import NO_HOOKS, Hooks
from gitaly.git.lfs import LARGEST_BYTES as LARGEST_LFS_POINTER_BYTES
from gitaly.git.lfs import LFSPointer, parse_lfs_pointer
from gitaly.git.mailmap import NO_MAILMAP, Mailmap
from gitaly.git.mailmaps import Mailmaps
from gitaly.git.merge_base import merge_base
from gitaly.git.metrics import PrometheusCommandMetrics
from gitaly.git.newest_commits import MOST_NEWEST
from gitaly.git.object_sizes import objects_size
from gitaly.git.objects import (
    NO_LIMIT,
    AmbiguousRevision,
    Object,
    ObjectInfo,
    Objects,
    ObjectTooLarge,
    checked_revision,
)
from gitaly.git.objects_by_git import GitObjects
from gitaly.git.objects_in_process import InProcessObjects
from gitaly.git.os_errors import reason
from gitaly.git.output import output_pieces
from gitaly.git.path_filter import PathFilter
from gitaly.git.paths import RepositoryPaths
from gitaly.git.pinning import PinnedUrl, pinned
from gitaly.git.pipes import OutputTooLarge, PipeReader, PipeWriter
from gitaly.git.pointing_at import references_pointing_at
from gitaly.git.process import Child, CommandLabel, CommandMetrics, Processes
from gitaly.git.quoting import go_quoted
from gitaly.git.reference_lines import reference_lines
from gitaly.git.reference_list import ListingFailed
from gitaly.git.reference_names import is_valid_reference_name
from gitaly.git.references import ListedReference, ReferenceQuery, References, SortKey
from gitaly.git.references_by_git import GitReferences
from gitaly.git.references_in_process import InProcessReferences
from gitaly.git.remotes import answers, remote_head_branch
from gitaly.git.rev_list import git_lines, rev_list
from gitaly.git.revision_input import RevisionInput, RevisionLines
from gitaly.git.revision_syntax import ID_DIGITS
from gitaly.git.signatures import NO_SIGNING_KEYS, SigningKeyFiles, SigningKeys
from gitaly.git.spawner import (
    Born,
    End,
    Launch,
    OwnChild,
    PosixSpawner,
    Spawner,
    StoppedByLimit,
    keep_inherited_descriptors,
    limit_open_files,
    posix_spawn,
)
from gitaly.git.stdio import DEVNULL, PIPE, STDOUT
from gitaly.git.subcommands import HooksUndecided, InvalidArgument, checked_options
from gitaly.git.tag_object import Tag, parse_tag, signature_split
from gitaly.git.tag_patterns import first_tag
from gitaly.git.trailers import TRAILERS_FORMAT, parse_trailers
from gitaly.git.trees import TreeEntry, find_entry, parse_tree
from gitaly.git.version import GitBinary, GitUnusable, GitVersion, find_git

__all__ = [
    "ACCOUNT",
    "DEVNULL",
    "EMPTY_TREE",
    "ID_DIGITS",
    "LARGEST_LFS_POINTER_BYTES",
    "MOST_NEWEST",
    "NO_HOOKS",
    "NO_LIMIT",
    "NO_MAILMAP",
    "NO_SIGNING_KEYS",
    "PIPE",
    "STDOUT",
    "TRAILERS_FORMAT",
    "Account",
    "AmbiguousRevision",
    "Archive",
    "ArchiveFormat",
    "Born",
    "CatfileCollector",
    "CatfilePool",
    "Child",
    "CommandLabel",
    "CommandMetrics",
    "Commit",
    "CommitFields",
    "CompletedGit",
    "EmptyBundle",
    "End",
    "Exit",
    "FileAttribute",
    "Format",
    "Formats",
    "Git",
    "GitBinary",
    "GitFailed",
    "GitObjects",
    "GitReferences",
    "GitUnusable",
    "GitVersion",
    "GroupUsage",
    "Handles",
    "Hooks",
    "HooksUndecided",
    "Identity",
    "InProcessObjects",
    "InProcessReferences",
    "InvalidArgument",
    "LFSPointer",
    "Launch",
    "ListedReference",
    "ListingFailed",
    "Mailmap",
    "Mailmaps",
    "Object",
    "ObjectInfo",
    "ObjectTooLarge",
    "Objects",
    "OutputTooLarge",
    "OwnChild",
    "PathFilter",
    "Person",
    "PinnedUrl",
    "PipeReader",
    "PipeWriter",
    "PosixSpawner",
    "Processes",
    "PrometheusCommandMetrics",
    "ReferenceQuery",
    "References",
    "RepositoryPaths",
    "RevisionInput",
    "RevisionLines",
    "SigningKeyFiles",
    "SigningKeys",
    "SortKey",
    "Spawner",
    "StoppedByLimit",
    "Tag",
    "TreeEntry",
    "all_objects",
    "alternates_of",
    "answers",
    "archive_options",
    "archive_pieces",
    "bundle",
    "check_archive",
    "checked_options",
    "checked_revision",
    "commit_fields_by_git",
    "cpu_seconds_of_groups",
    "current_account",
    "fast_export",
    "file_attributes",
    "find_entry",
    "find_git",
    "first_tag",
    "fit",
    "fsck",
    "git_lines",
    "go_quoted",
    "grep",
    "has_own_parents",
    "is_valid_reference_name",
    "keep_inherited_descriptors",
    "last_commits",
    "limit_open_files",
    "merge_base",
    "named_alternates",
    "objects_size",
    "output_pieces",
    "parse_commit",
    "parse_identity",
    "parse_lfs_pointer",
    "parse_seconds",
    "parse_tag",
    "parse_trailers",
    "parse_tree",
    "pinned",
    "plain_fields",
    "posix_spawn",
    "reason",
    "reference_lines",
    "references_checksum",
    "references_pointing_at",
    "remote_head_branch",
    "rev_list",
    "signature_split",
    "signed_payload",
    "usage_of_groups",
]
