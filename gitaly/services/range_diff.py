"""RangeDiff: which commits are compared, and what the answer says."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from gitaly._pb.diff_pb2 import RangeDiffRequest, RangeDiffResponse, RawRangeDiffRequest
from gitaly.errors import Internal, InvalidRequest
from gitaly.git.diffs import CommitPair, RangeDiffEvent
from gitaly.services.patch_pieces import PIECE_BYTES

_COMPARISONS: Final[Mapping[str, RangeDiffResponse.Comparator]] = MappingProxyType(
    {
        "=": RangeDiffResponse.COMPARATOR_EQUAL_UNSPECIFIED,
        ">": RangeDiffResponse.COMPARATOR_GREATER_THAN,
        "<": RangeDiffResponse.COMPARATOR_LESS_THAN,
        "!": RangeDiffResponse.COMPARATOR_NOT_EQUAL,
    }
)


def range_arguments(request: RangeDiffRequest | RawRangeDiffRequest) -> list[str]:
    """What `git range-diff` is asked; empty, if nothing. Raises InvalidRequest."""
    spec = request.WhichOneof("range_spec")
    if spec == "range_pair":
        pair = request.range_pair
        return _named(Range1=pair.range1, Range2=pair.range2)
    if spec == "revision_range":
        revisions = request.revision_range
        return ["...".join(_named(Rev1=revisions.rev1, Rev2=revisions.rev2))]
    if spec == "base_with_revisions":
        based = request.base_with_revisions
        rev1, rev2, base = _named(Rev1=based.rev1, Rev2=based.rev2, Base=based.base)
        return [base, rev1, rev2]
    return []


def _named(**revisions: str) -> list[str]:
    for name, revision in revisions.items():
        if not revision:
            raise InvalidRequest(f"empty {name}")
        if "\0" in revision:
            raise InvalidRequest("revision can't contain NUL")
    return [*revisions.values()]


async def range_diff(
    batches: AsyncGenerator[list[RangeDiffEvent], None],
) -> AsyncGenerator[RangeDiffResponse, None]:
    """One message or more for each pair."""
    response: RangeDiffResponse | None = None
    text = bytearray()  # of the message that is not sent, because it may be the last of its pair
    async with aclosing(batches):
        async for events in batches:
            for event in events:
                if isinstance(event, CommitPair):
                    if response is not None:
                        yield _last(response, text)
                    response = _response(event)
                    text.clear()
                    continue
                assert response is not None
                text += event
                while len(text) > PIECE_BYTES:
                    response.patch_data = bytes(text[:PIECE_BYTES])
                    del text[:PIECE_BYTES]
                    yield response
                    response = RangeDiffResponse()
    if response is not None:
        yield _last(response, text)


def _last(response: RangeDiffResponse, text: bytearray) -> RangeDiffResponse:
    response.patch_data = bytes(text)
    response.end_of_patch = True
    return response


def _response(pair: CommitPair) -> RangeDiffResponse:
    try:
        title = pair.title.decode()
    except UnicodeDecodeError:
        text = "grpc: error while marshaling: string field contains invalid UTF-8"
        raise Internal(text) from None
    return RangeDiffResponse(
        from_commit_id=pair.old_id,
        to_commit_id=pair.new_id,
        comparison=_COMPARISONS[pair.comparison],
        commit_message_title=title,
    )
