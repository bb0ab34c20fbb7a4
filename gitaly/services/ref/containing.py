"""References from which a commit can be reached."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from gitaly._pb.ref_pb2 import (
    ListBranchNamesContainingCommitRequest,
    ListBranchNamesContainingCommitResponse,
    ListTagNamesContainingCommitRequest,
    ListTagNamesContainingCommitResponse,
)
from gitaly.git import RepositoryPaths, reference_lines
from gitaly.rpc import Call
from gitaly.services.messages import sized_messages
from gitaly.services.ref.reading import RefReading
from gitaly.services.revisions import check_object_id

HEADS = b"refs/heads"
TAGS = b"refs/tags"


class Containing(RefReading):
    """Names alone, and short ones."""

    async def ListBranchNamesContainingCommit(
        self, request: ListBranchNamesContainingCommitRequest, _: Call
    ) -> AsyncIterator[ListBranchNamesContainingCommitResponse]:
        repository = self._storages.existing(request.repository)
        names = self._containing(repository, request.commit_id, request.limit, HEADS)
        async with aclosing(names):
            async for some in sized_messages(names, len):
                yield ListBranchNamesContainingCommitResponse(branch_names=some)

    async def ListTagNamesContainingCommit(
        self, request: ListTagNamesContainingCommitRequest, _: Call
    ) -> AsyncIterator[ListTagNamesContainingCommitResponse]:
        repository = self._storages.existing(request.repository)
        names = self._containing(repository, request.commit_id, request.limit, TAGS)
        async with aclosing(names):
            async for some in sized_messages(names, len):
                yield ListTagNamesContainingCommitResponse(tag_names=some)

    async def _containing(
        self, repository: RepositoryPaths, commit_id: str, limit: int, below: bytes
    ) -> AsyncGenerator[list[bytes], None]:
        """Raises InvalidRequest for what is no whole object id, GitFailed for no commit."""
        check_object_id(commit_id, self._git.formats.of(repository.path).object_format)
        flags = ["--format=%(refname)", f"--contains={commit_id}"]
        if limit:
            flags.append(f"--count={limit}")
        prefix = below + b"/"
        async with aclosing(reference_lines(self._git, repository, [*flags], [below])) as batches:
            async for names in batches:
                yield [name.removeprefix(prefix) for name in names]
