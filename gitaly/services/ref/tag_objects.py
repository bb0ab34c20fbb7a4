"""Tag objects by their ids, or wherever revisions lead to them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from gitaly._pb.ref_pb2 import (
    GetTagMessagesRequest,
    GetTagMessagesResponse,
    GetTagSignaturesRequest,
    GetTagSignaturesResponse,
)
from gitaly.errors import Internal, InvalidRequest, prefixed
from gitaly.git import Mailmap, RepositoryPaths, parse_tag, rev_list, signature_split
from gitaly.rpc import Call
from gitaly.services.messages import in_messages, in_pieces
from gitaly.services.ref.known_messages import TOGETHER
from gitaly.services.ref.reading import RefReading
from gitaly.services.ref.tag_reader import TagReader
from gitaly.services.revisions import check_revisions

TagSignature = GetTagSignaturesResponse.TagSignature
_WALK = (
    "--in-commit-order",
    "--objects",
    "--filter=object:type=tag",
    "--filter-provided-objects",
)


class TagObjects(RefReading):
    """What annotated tags hold."""

    async def GetTagSignatures(
        self, request: GetTagSignaturesRequest, call: Call
    ) -> AsyncIterator[GetTagSignaturesResponse]:
        repository = self._storages.existing(request.repository)
        if not request.tag_revisions:
            raise InvalidRequest("missing revisions")
        revisions = [revision.encode() for revision in request.tag_revisions]
        check_revisions(revisions, may_be_pseudo=True)
        mailmap = await self._mailmap(repository, call)
        with prefixed("cat-file iterator stop"):
            walk = rev_list(self._git, repository, revisions, _WALK)
            async with aclosing(walk), aclosing(self._signed(repository, walk, mailmap)) as signed:
                async for some in in_messages(signed):
                    yield GetTagSignaturesResponse(signatures=some)

    async def GetTagMessages(
        self, request: GetTagMessagesRequest, call: Call
    ) -> AsyncIterator[GetTagMessagesResponse]:
        repository = self._storages.existing(request.repository)
        reader = TagReader(self._objects, repository, await self._mailmap(repository, call))
        for tag_id in request.tag_ids:
            with prefixed("getting tag"):
                message = await self._message(repository, reader, tag_id.encode())
            yield GetTagMessagesResponse(tag_id=tag_id)
            for piece in in_pieces(message):
                yield GetTagMessagesResponse(message=piece)

    async def _message(
        self, repository: RepositoryPaths, reader: TagReader, revision: bytes
    ) -> bytes:
        info = await self._objects.info(repository, revision)
        if info is None:
            raise Internal("object not found")
        if info.type != "tag":
            raise Internal(f"expected tag, got {info.type}")
        tag = await self._objects.read(repository, info.object_id.encode())
        if tag is None:
            raise Internal("object not found")
        await reader.commit_under(tag)  # a tag of what is missing is no tag for Gitaly
        return parse_tag(tag.data).message

    async def _signed(
        self, repository: RepositoryPaths, walk: AsyncIterator[list[bytes]], mailmap: Mailmap
    ) -> AsyncGenerator[list[TagSignature], None]:
        """The tags of a walk. The mailmap applies to what was signed, too, as in Gitaly."""
        async for lines in walk:
            for start in range(0, len(lines), TOGETHER):
                ids = [line.partition(b" ")[0] for line in lines[start : start + TOGETHER]]
                signed = []
                for tag in await self._objects.read_many(repository, ids):
                    if tag is None:
                        raise Internal("requesting object: object not found")
                    data = mailmap.applied_to_object(tag.data)
                    content, signature = signature_split(data)
                    signed.append(
                        TagSignature(
                            tag_id=tag.object_id, signature=signature or b"", content=content
                        )
                    )
                yield signed
