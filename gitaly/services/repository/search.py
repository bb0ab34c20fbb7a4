"""Searching the files of a revision, by content and by name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from gitaly._pb.repository_pb2 import (
    SearchFilesByContentRequest,
    SearchFilesByContentResponse,
    SearchFilesByNameRequest,
    SearchFilesByNameResponse,
)
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import Git, PathFilter, fit, grep
from gitaly.rpc import Call
from gitaly.storage import Repository, Storages

FILTER_LIMIT_BYTES: Final = 1000


class SearchServicer:
    """Greps and lists."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(self, storages: Storages, git: Git) -> None:
        self._storages = storages
        self._git = git

    async def SearchFilesByContent(
        self, request: SearchFilesByContentRequest, _: Call
    ) -> AsyncIterator[SearchFilesByContentResponse]:
        repository = self._storages.existing(request.repository)
        _check(request)
        matches = grep(self._git, repository, request.ref, request.query)
        with prefixed("cmd start failed"):
            async with aclosing(matches) as events:
                async for data in events:
                    if data is None:
                        yield SearchFilesByContentResponse(end_of_match=True)
                    else:
                        yield SearchFilesByContentResponse(match_data=data)

    async def SearchFilesByName(
        self, request: SearchFilesByNameRequest, _: Call
    ) -> AsyncIterator[SearchFilesByNameResponse]:
        repository = self._storages.existing(request.repository)
        _check(request)
        path_filter = _path_filter(request)
        with prefixed("cmd start failed"):
            files = await self._files(repository, request, path_filter)
        yield SearchFilesByNameResponse(files=files)

    async def _files(
        self,
        repository: Repository,
        request: SearchFilesByNameRequest,
        path_filter: PathFilter | None,
    ) -> list[bytes]:
        """All at once: Gitaly's clients expect one message, however long."""
        files: list[bytes] = []
        to_skip = request.offset
        async with self._git.run(
            "ls-tree",
            repository=repository,
            flags=["--full-tree", "--name-status", "-r", "-z"],
            args=[request.ref],
            after_separator=[request.query],
        ) as child:
            assert child.stdout is not None
            async for batch in child.stdout.record_batches(b"\0"):
                paths = batch if path_filter is None else [*filter(path_filter.matches, batch)]
                skipped = min(to_skip, len(paths))
                to_skip -= skipped
                files += paths[skipped:]
                if request.limit and len(files) >= request.limit:
                    return files[: request.limit]
                await asyncio.sleep(0)  # git may write faster than we ask others to wait
        return files


def _check(request: SearchFilesByContentRequest | SearchFilesByNameRequest) -> None:
    if not request.query:
        raise InvalidRequest("no query given")
    if not request.ref:
        raise InvalidRequest("no ref given")
    if request.ref.startswith(b"-"):
        raise InvalidRequest("invalid ref argument")
    for name, value in (("query", request.query.encode()), ("ref", request.ref)):
        if b"\0" in value:
            raise InvalidRequest(f"{name} contains a null byte")
        if not fit([value]):
            raise InvalidRequest(f"{name} exceeds maximum length")


def _path_filter(request: SearchFilesByNameRequest) -> PathFilter | None:
    if not request.filter:
        return None
    if len(request.filter.encode()) > FILTER_LIMIT_BYTES:
        raise InvalidRequest("filter exceeds maximum length")
    with prefixed("filter did not compile"):
        return PathFilter(request.filter)
