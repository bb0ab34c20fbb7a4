"""Commits and objects that a request names one by one."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeVar

from gitaly._pb.commit_pb2 import (
    CheckObjectsExistRequest,
    CheckObjectsExistResponse,
    FindCommitRequest,
    FindCommitResponse,
    GetCommitMessagesRequest,
    GetCommitMessagesResponse,
    ListCommitsByOidRequest,
    ListCommitsByOidResponse,
    ListCommitsByRefNameRequest,
    ListCommitsByRefNameResponse,
)
from gitaly._pb.shared_pb2 import CommitTrailer, GitCommit
from gitaly.errors import Internal, prefixed
from gitaly.git import (
    TRAILERS_FORMAT,
    RepositoryPaths,
    git_lines,
    parse_commit,
    parse_trailers,
)
from gitaly.rpc import Call
from gitaly.services.commit.reading import TOGETHER, CommitReading
from gitaly.services.messages import in_messages, in_pieces
from gitaly.services.revisions import check_revision, check_revisions
from gitaly.services.streams import first_request

T = TypeVar("T")
CommitForRef = ListCommitsByRefNameResponse.CommitForRef
RevisionExistence = CheckObjectsExistResponse.RevisionExistence


class Lookups(CommitReading):
    """Answered from the object database, without walking."""

    async def FindCommit(self, request: FindCommitRequest, _: Call) -> FindCommitResponse:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision)
        commit = await self._commits.find(repository, request.revision)
        if commit is not None and request.trailers:
            commit.trailers.extend(await self._trailers(repository, commit.id))
        return FindCommitResponse(commit=commit)

    async def ListCommitsByOid(
        self, request: ListCommitsByOidRequest, _: Call
    ) -> AsyncIterator[ListCommitsByOidResponse]:
        repository = self._storages.existing(request.repository)
        self._request_sizes.observe(len(request.oid))
        names = [name.encode() for name in request.oid]

        async def found() -> AsyncGenerator[list[GitCommit], None]:
            async for pairs in self._named(repository, names):
                yield [commit for _, commit in pairs]

        async with aclosing(found()) as batches:
            async for commits in in_messages(batches):
                yield ListCommitsByOidResponse(commits=commits)

    async def ListCommitsByRefName(
        self, request: ListCommitsByRefNameRequest, _: Call
    ) -> AsyncIterator[ListCommitsByRefNameResponse]:
        repository = self._storages.existing(request.repository)

        async def found() -> AsyncGenerator[list[CommitForRef], None]:
            async for pairs in self._named(repository, request.ref_names):
                yield [CommitForRef(commit=commit, ref_name=name) for name, commit in pairs]

        async with aclosing(found()) as batches:
            async for commits in in_messages(batches):
                yield ListCommitsByRefNameResponse(commit_refs=commits)

    async def GetCommitMessages(
        self, request: GetCommitMessagesRequest, _: Call
    ) -> AsyncIterator[list[GetCommitMessagesResponse]]:
        repository = self._storages.existing(request.repository)
        for name in request.commit_ids:
            with prefixed("failed to get commit message"):
                commit = await self._objects.read(repository, name.encode() + b"^{commit}")
                if commit is None:
                    raise Internal("object not found")
            message = parse_commit(commit.data).message
            pieces = [GetCommitMessagesResponse(message=piece) for piece in in_pieces(message)]
            yield [GetCommitMessagesResponse(commit_id=name), *pieces]

    async def CheckObjectsExist(
        self, requests: AsyncIterator[CheckObjectsExistRequest], _: Call
    ) -> AsyncIterator[CheckObjectsExistResponse]:
        first = await first_request(requests)
        repository = self._storages.existing(first.repository)
        async with aclosing(self._existences(repository, first, requests)) as batches:
            async for revisions in in_messages(batches):
                yield CheckObjectsExistResponse(revisions=revisions)

    async def _existences(
        self,
        repository: RepositoryPaths,
        request: CheckObjectsExistRequest,
        others: AsyncIterator[CheckObjectsExistRequest],
    ) -> AsyncGenerator[list[RevisionExistence], None]:
        while True:
            check_revisions(request.revisions, may_have_path=True)
            for some in _parts(request.revisions):
                with prefixed("checking object existence: reading object info"):
                    infos = await self._objects.infos(repository, some)
                yield [
                    RevisionExistence(name=name, exists=info is not None)
                    for name, info in zip(some, infos, strict=True)
                ]
            try:
                request = await anext(others)
            except StopAsyncIteration:
                return

    async def _named(
        self, repository: RepositoryPaths, names: Sequence[bytes]
    ) -> AsyncGenerator[list[tuple[bytes, GitCommit]], None]:
        """The commits that exist, with the names by which they were asked for."""
        mailmap = await self._commits.mailmap(repository)
        for some in _parts(names):
            found = await self._commits.find_many(repository, some, mailmap)
            yield [
                (name, commit)
                for name, commit in zip(some, found, strict=True)
                if commit is not None
            ]

    async def _trailers(self, repository: RepositoryPaths, commit_id: str) -> list[CommitTrailer]:
        """Git itself says which lines are trailers: what it takes for one can be configured."""
        flags = [f"--format={TRAILERS_FORMAT}", "--no-walk", "--no-patch"]
        walk = git_lines(self._git, "log", repository, flags=flags, args=[commit_id], paths=[])
        lines = [line async for batch in walk for line in batch if line]
        if len(lines) > 1:
            raise Internal("git log printed more than one line of trailers")
        pairs = parse_trailers(lines[0]) if lines else []
        return [CommitTrailer(key=key, value=value) for key, value in pairs]


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + TOGETHER] for start in range(0, len(items), TOGETHER)]
