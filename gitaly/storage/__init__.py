"""Storages: paths, creation and removal of repositories, sizes."""

from gitaly.storage.locator import NotADirectory, Storage, Storages, check_loose
from gitaly.storage.repository import Repository, RepositoryNotFound, RepositoryNotValid

__all__ = [
    "NotADirectory",
    "Repository",
    "RepositoryNotFound",
    "RepositoryNotValid",
    "Storage",
    "Storages",
    "check_loose",
]
