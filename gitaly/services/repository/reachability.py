"""What can be reached from where."""

from collections.abc import AsyncIterator

from gitaly._pb.repository_pb2 import (
    FindMergeBaseRequest,
    FindMergeBaseResponse,
    ObjectsSizeRequest,
    ObjectsSizeResponse,
)
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import Git, RevisionLines, fit, merge_base, objects_size
from gitaly.rpc import Call
from gitaly.services.revisions import check_revision
from gitaly.services.streams import first_request
from gitaly.storage import Storages


class ReachabilityServicer:
    """Asks git's revision walk."""

    SERVICE = "gitaly.RepositoryService"

    def __init__(self, storages: Storages, git: Git) -> None:
        self._storages = storages
        self._git = git

    async def FindMergeBase(self, request: FindMergeBaseRequest, _: Call) -> FindMergeBaseResponse:
        repository = self._storages.existing(request.repository)
        if len(request.revisions) < 2:
            raise InvalidRequest("at least 2 revisions are required")
        if any(b"\0" in revision for revision in request.revisions):
            raise InvalidRequest("revision can't contain NUL")
        if not fit(request.revisions):
            raise InvalidRequest("revisions are too long or too many")
        with prefixed("cmd"):
            base = await merge_base(self._git, repository, request.revisions)
        return FindMergeBaseResponse(base=base or "")

    async def ObjectsSize(
        self, requests: AsyncIterator[ObjectsSizeRequest], _: Call
    ) -> ObjectsSizeResponse:
        with prefixed("receiving initial request"):
            first = await first_request(requests)
        repository = self._storages.existing(first.repository)
        revisions = RevisionLines()
        _add(first, revisions)
        async for request in requests:
            if request.HasField("repository"):
                raise InvalidRequest("subsequent requests must not contain repository")
            _add(request, revisions)
        return ObjectsSizeResponse(size=await objects_size(self._git, repository, revisions))


def _add(request: ObjectsSizeRequest, revisions: RevisionLines) -> None:
    if not request.revisions:
        raise InvalidRequest("no revisions specified")
    for revision in request.revisions:
        with prefixed("validating revision"):
            check_revision(revision, may_be_pseudo=True)
        revisions.add(revision)
