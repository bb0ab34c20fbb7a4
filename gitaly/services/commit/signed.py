"""Signatures of commits: who has one, and what exactly was signed."""

from collections.abc import AsyncIterator, Sequence

from gitaly._pb.commit_pb2 import (
    FilterShasWithSignaturesRequest,
    FilterShasWithSignaturesResponse,
    GetCommitSignaturesRequest,
    GetCommitSignaturesResponse,
)
from gitaly._pb.shared_pb2 import NONE
from gitaly.errors import InvalidRequest
from gitaly.git import NO_MAILMAP, RepositoryPaths, SigningKeys, parse_commit, signed_payload
from gitaly.rpc import Call
from gitaly.services.commit.reading import TOGETHER, CommitReading
from gitaly.services.commits import git_commit, signature_type
from gitaly.services.messages import in_pieces
from gitaly.services.revisions import check_object_id
from gitaly.services.streams import first_request


class Signed(CommitReading):
    """Signatures; of others' keys than the node's own nothing is known here."""

    async def FilterShasWithSignatures(
        self, requests: AsyncIterator[FilterShasWithSignaturesRequest], _: Call
    ) -> AsyncIterator[FilterShasWithSignaturesResponse]:
        first = await first_request(requests)
        repository = self._storages.existing(first.repository)
        yield FilterShasWithSignaturesResponse(shas=await self._signed(repository, first.shas))
        async for request in requests:
            shas = await self._signed(repository, request.shas)
            yield FilterShasWithSignaturesResponse(shas=shas)

    async def GetCommitSignatures(
        self, request: GetCommitSignaturesRequest, _: Call
    ) -> AsyncIterator[GetCommitSignaturesResponse]:
        repository = self._storages.existing_objects(request.repository)
        if not request.commit_ids:
            raise InvalidRequest("empty CommitIds")
        object_format = self._git.formats.of(repository.path).object_format
        for object_id in request.commit_ids:
            check_object_id(object_id, object_format)
        keys = await self._blocking.run(self._signing_keys.all) if self._signing_keys else None
        for object_id in request.commit_ids:
            commit = await self._objects.read(repository, f"{object_id}^{{commit}}".encode())
            signature = None if commit is None else parse_commit(commit.data).signature
            if commit is None or not signature:
                continue
            # As they are in the object: a mailmap would change what was signed.
            message = git_commit(commit, NO_MAILMAP)
            payload = signed_payload(commit.data)
            yield GetCommitSignaturesResponse(
                commit_id=message.id,
                signature=signature,
                signer=await self._signer(keys, signature, payload),
                author=message.author if message.HasField("author") else None,
                committer=message.committer if message.HasField("committer") else None,
            )
            for piece in in_pieces(payload):
                yield GetCommitSignaturesResponse(signed_text=piece)

    async def _signer(
        self, keys: SigningKeys | None, signature: bytes, payload: bytes
    ) -> GetCommitSignaturesResponse.Signer:
        if keys is not None and await self._blocking.run(keys.have_made, signature, payload):
            return GetCommitSignaturesResponse.SIGNER_SYSTEM
        return GetCommitSignaturesResponse.SIGNER_USER

    async def _signed(self, repository: RepositoryPaths, shas: Sequence[bytes]) -> list[bytes]:
        kept = []
        for start in range(0, len(shas), TOGETHER):
            some = shas[start : start + TOGETHER]
            revisions = [sha + b"^{commit}" for sha in some]
            found = await self._objects.read_many(repository, revisions)
            for sha, commit in zip(some, found, strict=True):
                signature = None if commit is None else parse_commit(commit.data).signature
                if signature_type(signature) != NONE:
                    kept.append(sha)
        return kept
