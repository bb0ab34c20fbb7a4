"""A repository as one stream of bytes."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

from gitaly._pb.repository_pb2 import (
    CreateBundleFromRefListRequest,
    CreateBundleFromRefListResponse,
    CreateBundleRequest,
    CreateBundleResponse,
    FastExportRequest,
    FastExportResponse,
    GetConfigRequest,
    GetConfigResponse,
    GetSnapshotRequest,
    GetSnapshotResponse,
)
from gitaly.errors import Internal, InvalidRequest, NotFound, prefixed
from gitaly.git import (
    EmptyBundle,
    Git,
    RevisionLines,
    bundle,
    fast_export,
    reason,
)
from gitaly.git.transfer import MESSAGE_BYTES
from gitaly.observe.log import Logger
from gitaly.rpc import Call
from gitaly.services.revisions import is_pseudo
from gitaly.services.streams import first_request
from gitaly.storage import (
    AlternatesUnusable,
    Blocking,
    NotADirectory,
    Repository,
    Storages,
    clean_up_worktrees,
    snapshot,
)


class ExportServicer:
    """Bundles, fast-export, snapshots, the config."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(self, storages: Storages, git: Git, blocking: Blocking, logger: Logger) -> None:
        self._storages = storages
        self._git = git
        self._blocking = blocking
        self._logger = logger

    async def CreateBundle(
        self, request: CreateBundleRequest, _: Call
    ) -> AsyncIterator[CreateBundleResponse]:
        repository = self._storages.existing(request.repository)
        await self._clean_up(repository)
        with prefixed("create bundle"):
            try:
                async with aclosing(bundle(self._git, repository)) as pieces:
                    async for piece in pieces:
                        yield CreateBundleResponse(data=piece)
            except EmptyBundle as error:  # no precondition here, says Gitaly
                raise Internal(error.message) from error

    async def CreateBundleFromRefList(
        self, requests: AsyncIterator[CreateBundleFromRefListRequest], _: Call
    ) -> AsyncIterator[CreateBundleFromRefListResponse]:
        first = await first_request(requests)
        repository = self._storages.existing(first.repository)
        patterns = RevisionLines()
        _add(first, patterns)
        async for request in requests:
            _add(request, patterns)
        await self._clean_up(repository)
        with prefixed("create bundle"):
            revisions = patterns.input_for(self._git.binary)
            async with aclosing(bundle(self._git, repository, revisions)) as pieces:
                async for piece in pieces:
                    yield CreateBundleFromRefListResponse(data=piece)

    async def FastExport(
        self, request: FastExportRequest, _: Call
    ) -> AsyncIterator[FastExportResponse]:
        if not request.HasField("repository"):
            raise InvalidRequest("repository is not set")
        with prefixed("cmd start failed: get repo path"):
            try:
                repository = self._storages.existing(request.repository)
            except NotADirectory as error:  # found when git is to start, says Gitaly
                raise Internal(error.message) from error
        async with aclosing(fast_export(self._git, repository)) as pieces:
            async for piece in pieces:
                yield FastExportResponse(data=piece)

    async def GetSnapshot(
        self, request: GetSnapshotRequest, call: Call
    ) -> AsyncIterator[GetSnapshotResponse]:
        repository = self._storages.existing(request.repository)
        files = snapshot(repository.path, repository.storage_path)
        try:
            async with aclosing(self._blocking.each(files)) as pieces:
                async for piece in pieces:
                    yield GetSnapshotResponse(data=piece)
        except AlternatesUnusable as error:
            self._logger.warning(
                "error getting alternate object directories",
                error=str(error),
                correlation_id=call.correlation_id,
            )

    async def GetConfig(
        self, request: GetConfigRequest, _: Call
    ) -> AsyncIterator[GetConfigResponse]:
        repository = self._storages.existing(request.repository)
        with prefixed("opening gitconfig"):
            text = _file_pieces(os.path.join(repository.path, "config"))
            async with aclosing(self._blocking.each(text)) as pieces:
                async for piece in pieces:
                    yield GetConfigResponse(data=piece)

    async def _clean_up(self, repository: Repository) -> None:
        with prefixed("cleaning up worktrees"):
            await clean_up_worktrees(self._git, repository, self._blocking)


def _add(request: CreateBundleFromRefListRequest, patterns: RevisionLines) -> None:
    if not request.patterns:
        patterns.add(b"")
    for pattern in request.patterns:
        for line in pattern.split(b"\n"):
            if line.startswith(b"-") and not is_pseudo(line):
                raise InvalidRequest("patterns: revision can't start with '-'")
            if b"\0" in line:
                raise InvalidRequest("patterns: revision can't contain NUL")
            patterns.add(line)


def _file_pieces(path: str) -> Iterator[bytes]:
    """Of a file in a repository. Blocks. Raises NotFound, Internal."""
    name = os.path.basename(path)
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(MESSAGE_BYTES):
                yield piece
    except FileNotFoundError as error:
        raise NotFound(f"open {name}: {reason(error)}") from error
    except OSError as error:
        raise Internal(f"open {name}: {reason(error)}") from error
