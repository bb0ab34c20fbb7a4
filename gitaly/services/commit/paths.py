"""What happened to paths: their last commits, and who wrote their lines."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.commit_pb2 import (
    LastCommitForPathRequest,
    LastCommitForPathResponse,
    ListLastCommitsForTreeRequest,
    ListLastCommitsForTreeResponse,
)
from gitaly.errors import Internal, InvalidRequest
from gitaly.git import GitFailed, RepositoryPaths, git_lines, go_quoted, last_commits
from gitaly.rpc import Call
from gitaly.services.commit.reading import TOGETHER, CommitReading
from gitaly.services.messages import counted_messages
from gitaly.services.revisions import check_revision
from gitaly.services.tree_lookup import listed_entries
from gitaly.services.tree_paths import path_or_root

ENTRIES_IN_A_MESSAGE: Final = 10
_ORDER: Final[Mapping[str, int]] = MappingProxyType({"tree": 0, "blob": 1, "commit": 2})
_BAD_REVISION: Final = re.compile(rb"bad revision '.*'", re.DOTALL)
CommitForTree = ListLastCommitsForTreeResponse.CommitForTree


class Paths(CommitReading):
    """Histories of paths."""

    async def LastCommitForPath(
        self, request: LastCommitForPathRequest, _: Call
    ) -> LastCommitForPathResponse:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision)
        is_literal = request.literal_pathspec or request.global_options.literal_pathspecs
        revision, path = request.revision, path_or_root(request.path)
        walked = await self._objects.last_commit(repository, revision, path)
        if walked is not None:
            if walked.rest is None:
                return await self._last(repository, walked.commit)
            revision = walked.rest.encode()
        walk = git_lines(
            self._git,
            "log",
            repository,
            flags=["--format=%H", "--max-count=1"],
            args=[revision],
            paths=[path],
            has_literal_paths=is_literal,
        )
        try:
            found = [line async for batch in walk for line in batch]
        except GitFailed as error:
            if _BAD_REVISION.search(error.stderr):
                return LastCommitForPathResponse()
            raise Internal(
                f"logging last commit for path: {error.exit}", **error.metadata
            ) from error
        return await self._last(repository, found[0].decode() if found else None)

    async def _last(
        self, repository: RepositoryPaths, commit: str | None
    ) -> LastCommitForPathResponse:
        if commit is None:
            return LastCommitForPathResponse()
        found = await self._commits.find(repository, commit.encode())
        return LastCommitForPathResponse(commit=found)

    async def ListLastCommitsForTree(
        self, request: ListLastCommitsForTreeRequest, _: Call
    ) -> AsyncIterator[ListLastCommitsForTreeResponse]:
        repository = self._storages.existing(request.repository)
        revision = request.revision.encode()
        check_revision(revision)
        if request.offset < 0:
            raise InvalidRequest("offset negative")
        if request.limit < 0:
            raise InvalidRequest("limit negative")
        listed = await listed_entries(self._objects, repository, revision, request.path)
        entries = sorted(listed.entries, key=lambda entry: _ORDER[entry.type])
        paths = [entry.name for entry in entries[request.offset :][: request.limit]]
        if not paths:
            return
        async with aclosing(
            self._last_ones(repository, revision, paths, listed.directory)
        ) as found:
            async for commits in counted_messages(found, ENTRIES_IN_A_MESSAGE):
                yield ListLastCommitsForTreeResponse(commits=commits)

    async def _last_ones(
        self, repository: RepositoryPaths, revision: bytes, paths: list[bytes], directory: bytes
    ) -> AsyncGenerator[list[CommitForTree], None]:
        try:
            last = await last_commits(self._git, repository, revision, paths, directory)
        except GitFailed as error:
            raise Internal(str(error.exit), **error.metadata) from error
        mailmap = await self._commits.mailmap(repository)
        for start in range(0, len(paths), TOGETHER):
            some = paths[start : start + TOGETHER]
            lost = next((path for path in some if path not in last), None)
            if lost is not None:
                raise Internal(f"commit not resolved for {go_quoted(lost)}")
            ids = [last[path] for path in some]
            found = await self._commits.read_many(repository, ids, mailmap)
            yield [
                CommitForTree(path_bytes=path, commit=commit)
                for path, commit in zip(some, found, strict=True)
            ]
