"""Statistics of a repository's files, as RepositoryInfo tells them. All of this blocks.

Source: Gitaly, internal/git/stats/repository_info.go.
"""

import os
import time
from dataclasses import dataclass
from typing import Final

from gitaly.errors import prefixed
from gitaly.git import Format, named_alternates
from gitaly.storage.failing import as_internal
from gitaly.storage.object_info import (
    LooseObjects,
    Packs,
    add_loose_objects,
    add_packs,
    loose_objects,
    packs,
)
from gitaly.storage.pack_files import CommitGraph, commit_graph
from gitaly.storage.places import FULL_REPACK_TIMESTAMP
from gitaly.storage.repository import Repository, RepositoryNotFound
from gitaly.storage.sizes import directory_size

STALE_SECONDS: Final = 10 * 24 * 3600  # older loose objects are candidates for pruning


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFiles:
    """Files of the reference backend."""

    backend: str  # "files", "reftable"
    loose_count: int = 0
    packed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternates:
    """The alternates file."""

    object_directories: tuple[str, ...]  # its lines
    last_modified: float  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryInfo:
    """All of it. For a member of an object pool the pool's objects are included."""

    size: int  # bytes of all files
    references: ReferenceFiles
    loose: LooseObjects
    packs: Packs
    commit_graph: CommitGraph | None
    alternates: Alternates | None
    is_object_pool: bool
    last_full_repack: float | None  # seconds since the epoch


def repository_info(repository: Repository, form: Format) -> RepositoryInfo:
    """Look at all files of a repository. Raises NodeError for files that cannot be understood."""
    path = repository.path
    now = time.time()
    with as_internal("calculating repository size"):
        size = directory_size(path)
    with prefixed("deriving repository info"), as_internal("reading files"):
        loose = loose_objects(path, now - STALE_SECONDS)
        found_packs = packs(path)
        references = _references(path, form.reference_backend)
        graph = commit_graph(path)
        alternates = read_alternates(path)
    if alternates is not None and alternates.object_directories:
        pool = _pool_path(repository, alternates.object_directories[0])
        with as_internal("deriving pool info"):
            loose = add_loose_objects(loose, loose_objects(pool, now - STALE_SECONDS))
            found_packs = add_packs(found_packs, packs(pool))
            size += directory_size(pool)
    return RepositoryInfo(
        size=size,
        references=references,
        loose=loose,
        packs=found_packs,
        commit_graph=graph,
        alternates=alternates,
        is_object_pool=repository.is_object_pool,
        last_full_repack=_modified(os.path.join(path, FULL_REPACK_TIMESTAMP)),
    )


def read_alternates(path: str) -> Alternates | None:
    """Of the repository at `path`; None: it has no such file. Raises OSError."""
    try:
        with open(os.path.join(path, "objects/info/alternates"), "rb") as file:
            names = named_alternates(file.read().replace(b"\r\n", b"\n"))
            modified = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    return Alternates(
        object_directories=tuple(name.decode(errors="replace") for name in names),
        last_modified=modified,
    )


def _pool_path(member: Repository, object_directory: str) -> str:
    """The pool that an alternates line leads to. Raises RepositoryNotFound."""
    objects = os.path.normpath(os.path.join(member.path, "objects", object_directory))
    pool = os.path.dirname(objects)
    is_inside = pool.startswith(member.storage_path + "/")
    if not is_inside or not os.path.isdir(os.path.join(pool, "objects")):
        with prefixed("deriving pool loose objects info: getting repository path"):
            raise RepositoryNotFound(
                member.storage_name, os.path.relpath(pool, member.storage_path)
            )
    return pool


def _references(path: str, backend: str) -> ReferenceFiles:
    if backend != "files":
        return ReferenceFiles(backend=backend)
    loose = sum(len(files) for _, _, files in os.walk(os.path.join(path, "refs")))
    try:
        packed = os.stat(os.path.join(path, "packed-refs")).st_size
    except FileNotFoundError:
        packed = 0
    return ReferenceFiles(backend=backend, loose_count=loose, packed_bytes=packed)


def _modified(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
