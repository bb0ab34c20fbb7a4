"""Storages: paths, creation and removal of repositories, sizes."""

from gitaly.storage.blocking import Blocking
from gitaly.storage.containment import PathEscapes
from gitaly.storage.counter import RepositoryCounter, walk_repositories
from gitaly.storage.creation import Creator, Initial
from gitaly.storage.file_systems import REMOTE, access, concern, file_system_name, usage
from gitaly.storage.health import Health, Pace
from gitaly.storage.info import RepositoryInfo, repository_info
from gitaly.storage.locator import NotADirectory, Storage, Storages, check_loose
from gitaly.storage.locks import AlreadyLocked, RepositoryLock
from gitaly.storage.metadata import ensure_filesystem_id, filesystem_id
from gitaly.storage.patrol import Patrol, Sight
from gitaly.storage.probe import Probe, Problem, Space, probe
from gitaly.storage.pulse import Pulse
from gitaly.storage.quarantines import sweep_quarantines
from gitaly.storage.removal import Remover
from gitaly.storage.repository import Repository, RepositoryNotFound, RepositoryNotValid
from gitaly.storage.sizes import directory_size
from gitaly.storage.snapshot import AlternatesUnusable, snapshot
from gitaly.storage.tempdirs import sweep, temporary, temporary_file
from gitaly.storage.votes import Phase, Vote, VoteFailed, digest_of, voting
from gitaly.storage.worktrees import clean_up_worktrees

__all__ = [
    "REMOTE",
    "AlreadyLocked",
    "AlternatesUnusable",
    "Blocking",
    "Creator",
    "Health",
    "Initial",
    "NotADirectory",
    "Pace",
    "PathEscapes",
    "Patrol",
    "Phase",
    "Probe",
    "Problem",
    "Pulse",
    "Remover",
    "Repository",
    "RepositoryCounter",
    "RepositoryInfo",
    "RepositoryLock",
    "RepositoryNotFound",
    "RepositoryNotValid",
    "Sight",
    "Space",
    "Storage",
    "Storages",
    "Vote",
    "VoteFailed",
    "access",
    "check_loose",
    "clean_up_worktrees",
    "concern",
    "digest_of",
    "directory_size",
    "ensure_filesystem_id",
    "file_system_name",
    "filesystem_id",
    "probe",
    "repository_info",
    "snapshot",
    "sweep",
    "sweep_quarantines",
    "temporary",
    "temporary_file",
    "usage",
    "voting",
    "walk_repositories",
]
