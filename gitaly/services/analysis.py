"""AnalysisService: questions about the content of blobs."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from gitaly._pb.analysis_pb2 import CheckBlobsGeneratedRequest, CheckBlobsGeneratedResponse
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import Objects
from gitaly.linguist import is_generated
from gitaly.rpc import Call
from gitaly.services.messages import in_messages
from gitaly.services.revisions import check_revision
from gitaly.services.streams import first_request
from gitaly.storage import Repository, Storages

READ_BYTES: Final = 2048  # of each blob
Blob = CheckBlobsGeneratedResponse.Blob


class AnalysisServicer:
    """Looks into blobs."""

    SERVICE = "gitaly.AnalysisService"

    def __init__(self, storages: Storages, objects: Objects) -> None:
        self._storages = storages
        self._objects = objects

    async def CheckBlobsGenerated(
        self, requests: AsyncIterator[CheckBlobsGeneratedRequest], _: Call
    ) -> AsyncIterator[CheckBlobsGeneratedResponse]:
        with prefixed("receiving first request"):
            request = await first_request(requests)
        repository = self._storages.existing(request.repository)
        while True:
            with prefixed("validating request"):
                _check(request)
            async for blobs in in_messages(self._answers(repository, request)):
                yield CheckBlobsGeneratedResponse(blobs=blobs)
            try:
                request = await anext(requests)
            except StopAsyncIteration:
                return

    async def _answers(
        self, repository: Repository, request: CheckBlobsGeneratedRequest
    ) -> AsyncIterator[list[Blob]]:
        for blob in request.blobs:
            info = await self._objects.info(repository, blob.revision)
            if info is None:
                raise Internal("reading object: object not found")
            if info.type != "blob":
                raise InvalidRequest("object is not a blob")
            async with aclosing(self._objects.pieces(repository, info, READ_BYTES)) as pieces:
                content = b"".join([piece async for piece in pieces])
            yield [Blob(revision=blob.revision, generated=is_generated(blob.path, content))]


def _check(request: CheckBlobsGeneratedRequest) -> None:
    if not request.blobs:
        raise InvalidRequest("empty blobs")
    for blob in request.blobs:
        check_revision(blob.revision, may_have_path=True)
        if not blob.path:
            raise InvalidRequest("empty path")
