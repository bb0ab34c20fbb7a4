"""From the Repository message of a request to a place on disk, or the reason why not.

Order and texts of the refusals are Gitaly's (internal/gitaly/config/locator.go, and
internal/gitaly/storage/locator.go); that links must not leave the storage is ours.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gitaly._pb import shared_pb2
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NotFound, Unavailable
from gitaly.git import reason
from gitaly.storage.containment import (
    PathEscapes,
    check_contained,
    check_future_contained,
    joined,
    opened_directory,
)
from gitaly.storage.places import temporary_directory
from gitaly.storage.repository import Repository, RepositoryNotFound, RepositoryNotValid
from gitaly.storage.seen import Seen

REQUIRED_ENTRIES: Final = ("objects", "refs", "HEAD")


class NotADirectory(InvalidRequest):
    """Something is at the repository's path, but no directory."""

    def __init__(self) -> None:
        super().__init__("validate git directory: not a directory")


@dataclass(frozen=True, slots=True)
class Storage:
    """A configured storage."""

    name: str
    path: str  # absolute, clean; may be a symbolic link


class Storages:
    """The storages of the node, in the order of the configuration."""

    def __init__(self, storages: Iterable[tuple[str, str]], seen: Seen | None = None) -> None:
        """`storages`: pairs of a name and an absolute path. Several names may share a path."""
        self._by_name: Mapping[str, Storage] = {
            name: Storage(name, os.path.normpath(path)) for name, path in storages
        }
        self._seen = seen or Seen()
        self._real_roots: dict[str, tuple[tuple[int, int], str]] = {}  # path: (identity, real)
        self._closed: frozenset[str] = frozenset()  # paths
        self._read_only: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Storage]:
        return iter(self._by_name.values())

    def distinct_paths(self) -> list[str]:
        """Each path once, for walks."""
        return list(dict.fromkeys(storage.path for storage in self._by_name.values()))

    def set_access(self, path: str, *, is_closed: bool = False, is_read_only: bool = False) -> None:
        """From now on calls for storages at this path are refused, before they touch the disk: all
        of them, or those that make or change a repository."""
        self._closed = self._closed - {path} | ({path} if is_closed else set())
        self._read_only = self._read_only - {path} | ({path} if is_read_only else set())

    def named(self, name: str) -> Storage:
        """Raises InvalidRequest for an empty or unknown name, Unavailable for a closed storage."""
        if not name:
            raise InvalidRequest("storage name not set")
        storage = self._by_name.get(name)
        if storage is None:
            raise InvalidRequest("storage name not found", storage_name=name)
        if storage.path in self._closed:
            raise Unavailable(f'storage "{name}" is not available', storage_path=storage.path)
        return storage

    def existing(self, message: shared_pb2.Repository) -> Repository:
        """A repository that must be there: `objects`, `refs` and `HEAD` exist.

        Raises InvalidRequest, NotFound (of the storage), RepositoryNotFound, RepositoryNotValid,
        NotADirectory.
        """
        check_loose(message)
        storage = self.named(message.storage_name)
        # Unchecked on purpose: only clean paths were ever remembered.
        path = f"{storage.path}/{message.relative_path}"
        if not self._seen.is_unchanged(path):
            path = self._inspected(message)
        return self._repository(message, storage, path)

    def existing_objects(self, message: shared_pb2.Repository) -> Repository:
        """As `existing`, for RPCs in which Gitaly asks for the objects before anything else.

        Something else than a directory is not the request's fault there: raises Internal.
        """
        try:
            return self.existing(message)
        except NotADirectory as error:
            raise Internal(error.message) from error

    def changeable(self, message: shared_pb2.Repository) -> Repository:
        """As `existing`, for a call that writes to it. Raises FailedPrecondition, too."""
        repository = self.existing(message)
        self._require_writable(self.named(message.storage_name))
        return repository

    def _require_writable(self, storage: Storage) -> None:
        if storage.path in self._read_only:
            raise FailedPrecondition(
                f'storage "{storage.name}" is read-only', storage_path=storage.path
            )

    def _inspected(self, message: shared_pb2.Repository) -> str:
        """The path of a repository that is there, after all checks."""
        storage, real_root, path = self._located(message)
        try:
            fd = opened_directory(path)
        except FileNotFoundError:
            check_future_contained(real_root, path, message.relative_path)
            raise RepositoryNotFound(storage.name, message.relative_path) from None
        except NotADirectoryError:
            check_future_contained(real_root, path, message.relative_path)
            raise NotADirectory from None
        except OSError as error:
            raise Internal(f"validate git directory: {reason(error)}") from error
        try:
            check_contained(real_root, fd, message.relative_path)
            _check_entries(fd, path)
            self._seen.remember(path, fd)
        finally:
            os.close(fd)
        return path

    def exists(self, message: shared_pb2.Repository) -> bool:
        """Whether `existing` would find a repository; a directory that is none doesn't count.

        Raises InvalidRequest, NotFound (of the storage), Internal for something else than a
        directory.
        """
        try:
            self.existing_objects(message)
        except (RepositoryNotFound, RepositoryNotValid):
            return False
        return True

    def creatable(self, message: shared_pb2.Repository) -> Repository:
        """A repository that is to be made, and may or may not be there.

        Raises InvalidRequest, NotFound (storage), FailedPrecondition (it is read-only).
        """
        storage, real_root, path = self._located(message)
        self._require_writable(storage)
        check_future_contained(real_root, path, message.relative_path)
        return self._repository(message, storage, path)

    def _located(self, message: shared_pb2.Repository) -> tuple[Storage, str, str]:
        check_loose(message)
        storage = self.named(message.storage_name)
        real_root = self._real_root(storage.path)
        return storage, real_root, joined(storage.path, message.relative_path)

    def _repository(
        self, message: shared_pb2.Repository, storage: Storage, path: str
    ) -> Repository:
        repository = Repository(
            storage_name=storage.name,
            storage_path=storage.path,
            relative_path=message.relative_path,
            path=path,
            git_object_directory=message.git_object_directory,
            git_alternate_object_directories=tuple(message.git_alternate_object_directories),
            gl_repository=message.gl_repository,
            gl_project_path=message.gl_project_path,
        )
        directories = list(repository.git_alternate_object_directories)
        if repository.git_object_directory:
            directories.append(repository.git_object_directory)
        for directory in directories:
            _check_object_directory(repository, self._real_root(storage.path), directory)
        return repository

    def _real_root(self, path: str) -> str:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise NotFound("storage does not exist", storage_path=path) from None
        except OSError as error:
            raise Internal(f"storage path: {reason(error)}", storage_path=path) from error
        identity = (status.st_dev, status.st_ino)
        known = self._real_roots.get(path)
        if known is None or known[0] != identity:
            known = self._real_roots[path] = (identity, os.path.realpath(path))
        return known[1]


def check_loose(message: shared_pb2.Repository) -> None:
    """Only that something is named: for repositories that may live on another node.

    Raises InvalidRequest.
    """
    if not message.storage_name and not message.relative_path:
        raise InvalidRequest("repository not set")
    if not message.relative_path:
        raise InvalidRequest("repository path not set")


def _check_entries(fd: int, path: str) -> None:
    for entry in REQUIRED_ENTRIES:
        try:
            os.stat(entry, dir_fd=fd)
        except FileNotFoundError:
            raise RepositoryNotValid(entry, path) from None
        except OSError as error:
            raise Internal(f'validate git directory: stat "{entry}": {reason(error)}') from error


def _check_object_directory(repository: Repository, real_root: str, directory: str) -> None:
    """It is inside of the repository, or a quarantine of just this repository.

    Git would write and read objects anywhere else as willingly.
    """
    path = os.path.normpath(os.path.join(repository.path, directory))
    quarantine = os.path.join(
        temporary_directory(repository.storage_path), repository.quarantine_prefix
    )
    inside = path.startswith(repository.path + "/")
    if (
        "\0" in directory
        or os.path.isabs(directory)
        or not (inside or (path.startswith(quarantine) and len(path) > len(quarantine)))
    ):
        raise InvalidRequest(
            "not a valid relative path: relative path escapes root directory",
            git_object_directory=directory,
        )
    try:
        check_future_contained(real_root, path, directory)
    except PathEscapes as error:
        error.message = f"not a valid relative path: {error.message}"
        raise
