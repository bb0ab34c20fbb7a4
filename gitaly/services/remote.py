"""RemoteService: repositories elsewhere."""

from gitaly._pb.remote_pb2 import (
    FindRemoteRepositoryRequest,
    FindRemoteRepositoryResponse,
    FindRemoteRootRefRequest,
    FindRemoteRootRefResponse,
)
from gitaly.errors import InvalidRequest, prefixed
from gitaly.git import Git, answers, pinned, remote_head_branch
from gitaly.rpc import Call
from gitaly.storage import Storages

_NOT_IN_A_HEADER = ("\0", "\r", "\n")


class RemoteServicer:
    """Asks other servers."""

    SERVICE = "gitaly.RemoteService"

    def __init__(self, storages: Storages, git: Git) -> None:
        self._storages = storages
        self._git = git

    async def FindRemoteRepository(
        self, request: FindRemoteRepositoryRequest, _: Call
    ) -> FindRemoteRepositoryResponse:
        if not request.remote:
            raise InvalidRequest("empty remote can't be checked.")
        if "\0" in request.remote:
            raise InvalidRequest("remote contains a null byte")
        with prefixed("error executing git command"):
            exists = await answers(self._git, request.remote)
        return FindRemoteRepositoryResponse(exists=exists)

    async def FindRemoteRootRef(
        self, request: FindRemoteRootRefRequest, _: Call
    ) -> FindRemoteRootRefResponse:
        if not request.remote_url:
            raise InvalidRequest("missing remote URL")
        repository = self._storages.existing(request.repository)
        if "\0" in request.remote_url:
            raise InvalidRequest("remote URL contains a null byte")
        header = request.http_authorization_header
        if any(character in header for character in _NOT_IN_A_HEADER):
            raise InvalidRequest("HTTP authorization header contains a line break or a null byte")
        url = pinned(request.remote_url, request.resolved_address)
        return FindRemoteRootRefResponse(
            ref=await remote_head_branch(self._git, repository, url, header)
        )
