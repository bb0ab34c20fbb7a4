"""Branches with the commits that they lead to."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TypeVar

from gitaly._pb.ref_pb2 import (
    FindAllBranchesRequest,
    FindAllBranchesResponse,
    FindAllRemoteBranchesRequest,
    FindAllRemoteBranchesResponse,
    FindBranchRequest,
    FindBranchResponse,
    FindLocalBranchesRequest,
    FindLocalBranchesResponse,
)
from gitaly._pb.shared_pb2 import Branch, GitCommit
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import (
    ListedReference,
    Mailmap,
    ReferenceQuery,
    RepositoryPaths,
    go_quoted,
)
from gitaly.rpc import Call
from gitaly.services.features import REF_ITERATOR, is_on
from gitaly.services.messages import counted_messages, sized_messages
from gitaly.services.ref.branch_listing import BranchReader, local_branches_query
from gitaly.services.ref.known_messages import TOGETHER
from gitaly.services.ref.pages import (
    REFERENCES_IN_A_MESSAGE,
    Page,
    UnknownToken,
    cut,
    page_of,
)
from gitaly.services.ref.reading import RefReading

T = TypeVar("T")
HEADS = b"refs/heads/"


@contextmanager
def _finding_refs() -> Iterator[None]:
    """Gitaly's words before all that goes wrong there, except with the page."""
    try:
        with prefixed("finding refs"):
            yield
    except UnknownToken:
        raise UnknownToken from None


class Branches(RefReading):
    """Local and remote branches."""

    async def FindBranch(self, request: FindBranchRequest, call: Call) -> FindBranchResponse:
        repository = self._storages.existing(request.repository)
        if not request.name:
            raise InvalidRequest("Branch name cannot be empty")
        name = HEADS + request.name
        found = await self._references.find(repository, name)
        if found is None:
            return FindBranchResponse()
        if found.name != name:
            raise InvalidRequest(
                "target reference is ambiguous: reference is ambiguous:"
                f" conflicts with {go_quoted(found.name)}"
            )
        mailmap = await self._mailmap(repository, call)
        (commit,) = await self._commits.find_many(repository, [found.target.encode()], mailmap)
        if commit is None:
            raise Internal("object not found")
        return FindBranchResponse(branch=Branch(name=request.name, target_commit=commit))

    async def FindLocalBranches(
        self, request: FindLocalBranchesRequest, call: Call
    ) -> AsyncIterator[FindLocalBranchesResponse | bytes]:
        repository = self._storages.existing(request.repository)
        query = local_branches_query(request)
        has_page = request.HasField("pagination_params")
        page = page_of(request.pagination_params if has_page else None)
        if is_on(call, REF_ITERATOR):
            reader = BranchReader(self._git, self._objects, repository, self._known)
            with _finding_refs():
                async with (
                    aclosing(self._listed(repository, query, page)) as listed,
                    aclosing(reader.read(listed)) as branches,
                ):
                    async for some in sized_messages(branches, len):
                        yield b"".join(some)
            return
        mailmap = await self._mailmap(repository, call)
        found = self._with_commits(repository, query, page, mailmap, _branch)
        async with aclosing(found):
            async for twenty in counted_messages(found, REFERENCES_IN_A_MESSAGE):
                yield FindLocalBranchesResponse(local_branches=twenty)

    async def FindAllBranches(
        self, request: FindAllBranchesRequest, call: Call
    ) -> AsyncIterator[FindAllBranchesResponse]:
        repository = self._storages.existing(request.repository)
        query = ReferenceQuery(patterns=[b"refs/heads", b"refs/remotes"])
        if request.merged_only:
            with prefixed("default branch name"):
                merged = await self._references.default_branch(repository)
            patterns = request.merged_branches or query.patterns
            query = ReferenceQuery(patterns=patterns, merged=merged)
        mailmap = await self._mailmap(repository, call)
        found = self._with_commits(repository, query, Page(), mailmap, _any_branch)
        async with aclosing(found):
            async for some in counted_messages(found, REFERENCES_IN_A_MESSAGE):
                yield FindAllBranchesResponse(branches=some)

    async def FindAllRemoteBranches(
        self, request: FindAllRemoteBranchesRequest, call: Call
    ) -> AsyncIterator[FindAllRemoteBranchesResponse]:
        repository = self._storages.existing(request.repository)
        if not request.remote_name:
            raise InvalidRequest("empty RemoteName")
        query = ReferenceQuery(patterns=[f"refs/remotes/{request.remote_name}".encode()])
        mailmap = await self._mailmap(repository, call)
        found = self._with_commits(repository, query, Page(), mailmap, _branch)
        async with aclosing(found):
            async for some in counted_messages(found, REFERENCES_IN_A_MESSAGE):
                yield FindAllRemoteBranchesResponse(branches=some)

    async def _listed(
        self, repository: RepositoryPaths, query: ReferenceQuery, page: Page
    ) -> AsyncGenerator[list[ListedReference], None]:
        async with (
            aclosing(self._references.list(repository, query)) as batches,
            aclosing(cut(batches, page)) as inside,
        ):
            async for batch in inside:
                yield batch

    async def _with_commits(
        self,
        repository: RepositoryPaths,
        query: ReferenceQuery,
        page: Page,
        mailmap: Mailmap,
        built: Callable[[bytes, GitCommit], T],
    ) -> AsyncGenerator[list[T], None]:
        """The references with the commits that they lead to, as messages."""
        with _finding_refs():
            async with aclosing(self._listed(repository, query, page)) as batches:
                async for batch in batches:
                    for start in range(0, len(batch), TOGETHER):
                        part = batch[start : start + TOGETHER]
                        yield await self._built(repository, part, mailmap, built)
                        await asyncio.sleep(0)  # reading in process never waits

    async def _built(
        self,
        repository: RepositoryPaths,
        references: Sequence[ListedReference],
        mailmap: Mailmap,
        built: Callable[[bytes, GitCommit], T],
    ) -> list[T]:
        targets = [reference.target.encode() for reference in references]
        commits = await self._commits.find_many(repository, targets, mailmap)
        found = []
        for reference, commit in zip(references, commits, strict=True):
            if commit is None:
                raise Internal("sending lines: object not found")
            found.append(built(reference.name, commit))
        return found


def _branch(name: bytes, target: GitCommit) -> Branch:
    return Branch(name=name, target_commit=target)


def _any_branch(name: bytes, target: GitCommit) -> FindAllBranchesResponse.Branch:
    return FindAllBranchesResponse.Branch(name=name, target=target)
