"""GetArchive: what the request wants, and what it may not want."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from gitaly._pb.repository_pb2 import GetArchiveRequest, GetArchiveResponse
from gitaly.archivecache import ArchiveCache
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import (
    Archive,
    ArchiveFormat,
    Git,
    Objects,
    RepositoryPaths,
    archive_pieces,
    check_archive,
    fit,
    go_quoted,
)
from gitaly.rpc import Call
from gitaly.services.repository.lfs import LfsFilter
from gitaly.services.revisions import check_revision
from gitaly.services.tree_paths import clean_path, leaves_its_root
from gitaly.storage import Storages
from gitaly.streamcache import Served

_FORMATS: Final[Mapping[int, ArchiveFormat]] = MappingProxyType(
    {
        GetArchiveRequest.ZIP: ArchiveFormat.ZIP,
        GetArchiveRequest.TAR: ArchiveFormat.TAR,
        GetArchiveRequest.TAR_GZ: ArchiveFormat.TAR_GZ,
        GetArchiveRequest.TAR_BZ2: ArchiveFormat.TAR_BZ2,
    }
)


class ArchiveServicer:
    """Makes archives."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(
        self,
        storages: Storages,
        git: Git,
        objects: Objects,
        lfs: LfsFilter | None = None,
        cache: ArchiveCache | None = None,
    ) -> None:
        """`lfs` None: there is no GitLab that has LFS objects, so pointers stay pointers.
        `cache` None: each call makes its archive."""
        self._storages = storages
        self._git = git
        self._objects = objects
        self._lfs = lfs
        self._cache = cache

    async def GetArchive(
        self, request: GetArchiveRequest, call: Call
    ) -> AsyncIterator[GetArchiveResponse]:
        repository = self._storages.existing(request.repository)
        archive = _archive(request)
        form = self._git.formats.of(repository.path)
        commit = None
        if self._cache is not None:
            commit = await self._commit(repository, archive)
        if commit is not None:  # whatever becomes of its name: the checks and git see this one
            archive = replace(archive, commit=commit.encode())
        await check_archive(self._objects, repository, archive, form)
        _check_elided(archive)
        if request.include_lfs_blobs and self._lfs is not None:
            config, env = self._lfs.options(repository.gl_repository)
            archive = replace(archive, config=config, env=env)
        if self._cache is None:
            source, served = archive_pieces(self._git, repository, archive), None
        else:
            served = Served()
            source = self._cache.pieces(
                repository, form.object_format, archive, commit=commit, served=served
            )
        try:
            async with aclosing(source) as pieces:
                async for piece in pieces:
                    yield GetArchiveResponse(data=piece)
        finally:
            if served is not None:
                call.log_fields.update(_fields(served))

    async def _commit(self, repository: RepositoryPaths, archive: Archive) -> str | None:
        """The id of the commit that is named; None: it is no commit, or there is none."""
        found = await self._objects.info(repository, archive.commit + b"^{commit}")
        return found.object_id if found is not None else None


def _archive(request: GetArchiveRequest) -> Archive:
    path = _path(request.path)
    exclude = [_path(excluded) for excluded in request.exclude]
    commit = request.commit_id.encode()
    with prefixed("invalid commitId"):
        check_revision(commit)
    archive_format = _FORMATS.get(request.format)
    if archive_format is None:
        raise InvalidRequest("invalid format")
    if "\0" in request.prefix:
        raise InvalidRequest("prefix contains a null byte")
    if not fit([commit, path, request.prefix.encode(), *exclude]):
        raise InvalidRequest("paths are too long or too many")
    return Archive(
        commit=commit,
        format=archive_format,
        prefix=request.prefix,
        path=path,
        exclude=exclude,
        elides_path=request.elide_path,
    )


def _fields(served: Served) -> dict[str, object]:
    fields: dict[str, object] = {
        "archive_cache.key": served.key,
        "archive_cache.hit": "true" if served.is_hit else "false",
        "archive_cache.served_bytes": served.served_bytes,
    }
    if served.is_joined:
        fields["archive_cache.joined"] = "true"
    if served.unkept:
        fields["archive_cache.unkept"] = served.unkept
    if served.generated_bytes is not None:
        fields["archive_cache.generated_bytes"] = served.generated_bytes
    return fields


def _path(path: bytes) -> bytes:
    """Clean; a leading slash means the root. Raises InvalidRequest."""
    below = path.lstrip(b"/")
    if leaves_its_root(below):
        raise InvalidRequest("relative path escapes root directory")
    if b"\0" in path:
        raise InvalidRequest("relative path contains a null byte")
    return clean_path(below)


def _check_elided(archive: Archive) -> None:
    """What is excluded lies below the path that is left out of all names."""
    if not archive.elides_path:
        return
    for path in archive.exclude:
        if not path.startswith(archive.path + b"/"):
            raise InvalidRequest(
                f"invalid exclude: {go_quoted(path)} is not a subdirectory of "
                f"{go_quoted(archive.path)}"
            )
