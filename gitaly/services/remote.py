"""RemoteService: repositories elsewhere."""

from typing import Final

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

_LINE_BREAKS: Final = ("\r", "\n")
LIMIT_BYTES: Final = 32 * 1024  # of a URL or a header; git gets them in its environment


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
        _check(request.remote, "remote")
        with prefixed("error executing git command"):
            exists = await answers(self._git, request.remote)
        return FindRemoteRepositoryResponse(exists=exists)

    async def FindRemoteRootRef(
        self, request: FindRemoteRootRefRequest, _: Call
    ) -> FindRemoteRootRefResponse:
        if not request.remote_url:
            raise InvalidRequest("missing remote URL")
        repository = self._storages.existing(request.repository)
        _check(request.remote_url, "remote URL")
        header = request.http_authorization_header
        _check(header, "HTTP authorization header")
        if any(character in header for character in _LINE_BREAKS):
            raise InvalidRequest("HTTP authorization header contains a line break")
        url = pinned(request.remote_url, request.resolved_address)
        return FindRemoteRootRefResponse(
            ref=await remote_head_branch(self._git, repository, url, header)
        )


def _check(value: str, name: str) -> None:
    if "\0" in value:
        raise InvalidRequest(f"{name} contains a null byte")
    if len(value) > LIMIT_BYTES:
        raise InvalidRequest(f"{name} is too long")
