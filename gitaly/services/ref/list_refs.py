"""ListRefs: what the request wants and what the answer says."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gitaly._pb.ref_pb2 import ListRefsRequest, ListRefsResponse
from gitaly._pb.shared_pb2 import ASCENDING, DESCENDING, PaginationCursor
from gitaly.errors import InvalidRequest
from gitaly.git import ListedReference, ReferenceQuery, SortKey, go_quoted
from gitaly.services.encoding import field, length, tag
from gitaly.services.ref.pages import cursor_after

Reference = ListRefsResponse.Reference
_REFERENCE: Final = tag(ListRefsResponse.REFERENCES_FIELD_NUMBER)
_NAME: Final = tag(Reference.NAME_FIELD_NUMBER)
_TARGET: Final = tag(Reference.TARGET_FIELD_NUMBER)

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


def list_refs_response(references: Sequence[ListedReference], has_more: bool) -> bytes:
    """One message, encoded; `has_more`: it is the last one, and the page ends before the list."""
    encoded = b"".join([reference_field(*reference) for reference in references])
    if not has_more:
        return encoded
    cursor = PaginationCursor(next_cursor=cursor_after(references[-1].name))
    return encoded + ListRefsResponse(pagination_cursor=cursor).SerializeToString()


def reference_field(name: bytes, target: str, peeled_target: str = "") -> bytes:
    """The field of a ListRefsResponse about a reference. 0.7 µs; a message takes 2."""
    inside = _NAME + length(len(name)) + name + _TARGET + length(len(target)) + target.encode()
    if peeled_target:
        inside += field(Reference.PEELED_TARGET_FIELD_NUMBER, peeled_target.encode())
    return _REFERENCE + length(len(inside)) + inside


def check_exclude(pattern: bytes, prefix: bytes) -> None:
    """Whether references can be left out by it, all of which begin so. Raises InvalidRequest."""
    if not pattern:
        raise InvalidRequest("empty exclude pattern")
    if b"\0" in pattern:
        raise InvalidRequest(f"exclude pattern contains null byte: {go_quoted(pattern)}")
    if not pattern.startswith(prefix):
        given = go_quoted(pattern)
        raise InvalidRequest(f"exclude pattern must start with {go_quoted(prefix)}: {given}")
