"""Commits that a request names one by one."""

from gitaly._pb.commit_pb2 import FindCommitRequest, FindCommitResponse
from gitaly.rpc import Call
from gitaly.services.commit.reading import CommitReading
from gitaly.services.revisions import check_revision


class Lookups(CommitReading):
    """Answered from the object database, without walking."""

    async def FindCommit(self, request: FindCommitRequest, _: Call) -> FindCommitResponse:
        repository = self._storages.existing(request.repository)
        check_revision(request.revision)
        commit = await self._commits.find(repository, request.revision)
        return FindCommitResponse(commit=commit)
