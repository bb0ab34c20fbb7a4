"""ListRefs: what the request wants and what the answer says."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gitaly._pb.ref_pb2 import ListRefsRequest, ListRefsResponse
from gitaly._pb.shared_pb2 import ASCENDING, DESCENDING, PaginationCursor
from gitaly.errors import InvalidRequest
from gitaly.git import ListedReference, ReferenceQuery, SortKey, go_quoted
from gitaly.services.ref.pages import cursor_after

_SORT_KEYS: Final[Mapping[int, SortKey]] = MappingProxyType(
    {
        ListRefsRequest.SortBy.REFNAME: SortKey.REFNAME,
        ListRefsRequest.SortBy.CREATORDATE: SortKey.CREATOR_DATE,
        ListRefsRequest.SortBy.AUTHORDATE: SortKey.AUTHOR_DATE,
        ListRefsRequest.SortBy.COMMITTERDATE: SortKey.COMMITTER_DATE,
    }
)


def list_refs_query(request: ListRefsRequest) -> ReferenceQuery:
    """Raises InvalidRequest."""
    if not request.patterns:
        raise InvalidRequest("patterns must have at least one entry")
    key = _SORT_KEYS.get(request.sort_by.key)
    if key is None:
        given = go_quoted(str(request.sort_by.key))
        raise InvalidRequest(f"sorting key {given} is not supported")
    if request.sort_by.direction not in (ASCENDING, DESCENDING):
        raise InvalidRequest("sorting direction is not supported")
    for pattern in request.exclude_patterns:
        check_exclude(pattern, b"refs/")
    return ReferenceQuery(
        patterns=request.patterns,
        exclude=request.exclude_patterns,
        points_at=request.pointing_at_oids,
        sort_key=key,
        descending=request.sort_by.direction == DESCENDING,
        ignore_case=request.ignore_case,
        peel_tags=request.peel_tags,
    )


def list_refs_response(
    references: Sequence[ListedReference], *, head: str | None, has_more: bool
) -> ListRefsResponse:
    """One message; `has_more`: it is the last one, and the page ends before the list does."""
    found = [
        ListRefsResponse.Reference(name=name, target=target, peeled_target=peeled)
        for name, target, peeled in references
    ]
    if head is not None:
        found.insert(0, ListRefsResponse.Reference(name=b"HEAD", target=head))
    response = ListRefsResponse(references=found)
    if has_more:
        cursor = PaginationCursor(next_cursor=cursor_after(references[-1].name))
        response.pagination_cursor.CopyFrom(cursor)
    return response


def check_exclude(pattern: bytes, prefix: bytes) -> None:
    """Whether references can be left out by it, all of which begin so. Raises InvalidRequest."""
    if not pattern:
        raise InvalidRequest("empty exclude pattern")
    if b"\0" in pattern:
        raise InvalidRequest(f"exclude pattern contains null byte: {go_quoted(pattern)}")
    if not pattern.startswith(prefix):
        given = go_quoted(pattern)
        raise InvalidRequest(f"exclude pattern must start with {go_quoted(prefix)}: {given}")
