"""GetArchive: what the request wants, and what it may not want."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.repository_pb2 import GetArchiveRequest, GetArchiveResponse
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import (
    Archive,
    ArchiveFormat,
    Git,
    archive_pieces,
    check_archive,
    check_revision,
    clean_tree_path,
    fit,
    go_quoted,
)
from gitaly.rpc import Call
from gitaly.storage import Storages

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

    def __init__(self, storages: Storages, git: Git) -> None:
        self._storages = storages
        self._git = git

    async def GetArchive(
        self, request: GetArchiveRequest, _: Call
    ) -> AsyncIterator[GetArchiveResponse]:
        repository = self._storages.existing(request.repository)
        archive = _archive(request)
        await check_archive(self._git, repository, archive)
        _check_elided(archive)
        async with aclosing(archive_pieces(self._git, repository, archive)) as pieces:
            async for piece in pieces:
                yield GetArchiveResponse(data=piece)


def _archive(request: GetArchiveRequest) -> Archive:
    path = clean_tree_path(request.path)
    exclude = [clean_tree_path(excluded) for excluded in request.exclude]
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
