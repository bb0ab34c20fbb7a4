import base64
from typing import Any

import pytest

from gitaly._pb.ref_pb2 import (
    FindDefaultBranchNameRequest,
    ListRefsRequest,
    ListRefsResponse,
    RefExistsRequest,
)
from gitaly._pb.shared_pb2 import PaginationParameter
from gitaly.errors import Internal, InvalidRequest, NodeError
from gitaly.services.ref import RefServicer
from tests.git.support import Bare
from tests.services.readers import decoded
from tests.storage.support import message

CALL: Any = None  # none of these calls looks at it


async def answers(refs: RefServicer, **more: Any) -> list[ListRefsResponse]:
    request = ListRefsRequest(repository=message(), **({"patterns": [b"refs/"]} | more))
    return await decoded(ListRefsResponse, refs.ListRefs(request, CALL))


async def names(refs: RefServicer, **more: Any) -> list[bytes]:
    return [one.name for answer in await answers(refs, **more) for one in answer.references]


def token_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def branches(bare: Bare) -> str:
    """450 branches b000 to b449, all at the commit that is returned."""
    commit = bare.commit()
    lines = "".join(f"create refs/heads/b{n:03} {commit}\n" for n in range(450))
    bare.git("update-ref", "--stdin", data=lines)
    return commit


async def test_references_exist_or_not(refs: RefServicer, bare: Bare) -> None:
    bare.git("update-ref", "refs/heads/main", bare.commit())
    for ref, exists in ((b"refs/heads/main", True), (b"refs/heads/o", False), (b"refs/a b", False)):
        request = RefExistsRequest(repository=message(), ref=ref)
        assert (await refs.RefExists(request, CALL)).value is exists


@pytest.mark.parametrize("ref", [b"", b"HEAD", b"main", b"-refs/heads/main", b"ref/heads/main"])
async def test_only_names_below_refs_can_be_asked_for(
    refs: RefServicer, bare: Bare, ref: bytes
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await refs.RefExists(RefExistsRequest(repository=message(), ref=ref), CALL)
    assert caught.value.message == "invalid refname"


async def test_the_default_branch_is_head_only_if_it_is_born_or_asked_for(
    refs: RefServicer, bare: Bare
) -> None:
    request = FindDefaultBranchNameRequest(repository=message())
    head_only = FindDefaultBranchNameRequest(repository=message(), head_only=True)
    assert (await refs.FindDefaultBranchName(request, CALL)).name == b""
    assert (await refs.FindDefaultBranchName(head_only, CALL)).name == b"refs/heads/main"
    bare.git("update-ref", "refs/heads/other", bare.commit())
    assert (await refs.FindDefaultBranchName(request, CALL)).name == b"refs/heads/other"


async def test_a_detached_head_is_an_error_in_gitalys_words(refs: RefServicer, bare: Bare) -> None:
    bare.git("update-ref", "--no-deref", "HEAD", bare.commit())
    for head_only, text in (
        (True, "head reference: exit status 128"),
        (False, "get default branch: exit status 128"),
    ):
        request = FindDefaultBranchNameRequest(repository=message(), head_only=head_only)
        with pytest.raises(Internal) as caught:
            await refs.FindDefaultBranchName(request, CALL)
        assert caught.value.message == text


async def test_lists_come_in_messages_of_two_hundred(refs: RefServicer, branches: str) -> None:
    found = await answers(refs)
    assert [len(answer.references) for answer in found] == [200, 200, 50]
    assert found[0].references[0] == ListRefsResponse.Reference(
        name=b"refs/heads/b000", target=branches
    )
    assert not any(answer.HasField("pagination_cursor") for answer in found)


async def test_head_is_in_the_first_message_and_does_not_count(
    refs: RefServicer, bare: Bare, branches: str
) -> None:
    bare.git("symbolic-ref", "HEAD", "refs/heads/b001")
    found = await answers(refs, head=True, pagination_params=PaginationParameter(limit=201))
    assert [len(answer.references) for answer in found] == [201, 1]
    assert found[0].references[0] == ListRefsResponse.Reference(name=b"HEAD", target=branches)


async def test_head_is_not_sent_alone_nor_unborn(
    refs: RefServicer, bare: Bare, branches: str
) -> None:
    assert await answers(refs, head=True, patterns=[b"refs/none"]) == []
    assert (await names(refs, head=True))[0] == b"refs/heads/b000"


@pytest.mark.parametrize(
    ("limit", "token", "expected"),
    [
        (2, "", ["b000", "b001"]),
        (2, "refs/heads/b001", ["b002", "b003"]),
        (2, token_of('{"ref_name":"refs/heads/b001"}'), ["b002", "b003"]),
        (-1, "refs/heads/b447", ["b448", "b449"]),
        (5, "refs/heads/b449", []),
        (0, "", []),
    ],
)
async def test_pages_begin_after_their_token(
    refs: RefServicer, branches: str, limit: int, token: str, expected: list[str]
) -> None:
    page = PaginationParameter(limit=limit, page_token=token)
    found = await names(refs, pagination_params=page)
    assert found == [f"refs/heads/{name}".encode() for name in expected]


@pytest.mark.parametrize(("limit", "token"), [(5, "refs/heads/none"), (0, "refs/heads/b000")])
async def test_a_token_that_leads_nowhere_is_an_error(
    refs: RefServicer, branches: str, limit: int, token: str
) -> None:
    page = PaginationParameter(limit=limit, page_token=token)
    with pytest.raises(InvalidRequest) as caught:
        await names(refs, pagination_params=page)
    assert caught.value.message == ("invalid page token: sending lines: could not find page token")


@pytest.mark.parametrize(
    ("limit", "lengths", "last"),
    [(200, [200], "b199"), (201, [200, 1], "b200"), (444, [200, 200, 44], "b443")],
)
async def test_a_cursor_is_on_the_last_message_if_more_exists(
    refs: RefServicer, branches: str, limit: int, lengths: list[int], last: str
) -> None:
    found = await answers(refs, pagination_params=PaginationParameter(limit=limit))
    assert [len(answer.references) for answer in found] == lengths
    assert [answer.HasField("pagination_cursor") for answer in found][:-1] == (
        [False] * (len(lengths) - 1)
    )
    assert found[-1].pagination_cursor.next_cursor == token_of(
        f'{{"ref_name":"refs/heads/{last}"}}'
    )


async def test_a_page_that_ends_with_the_list_has_no_cursor(
    refs: RefServicer, branches: str
) -> None:
    found = await answers(refs, pagination_params=PaginationParameter(limit=450))
    assert found[-1].HasField("pagination_cursor") is False


async def test_cursors_are_escaped_as_by_go_and_read_back(refs: RefServicer, bare: Bare) -> None:
    commit = bare.commit()
    for name in ("a<&>ü", "b"):
        bare.git("update-ref", f"refs/heads/{name}", commit)
    (first,) = await answers(refs, pagination_params=PaginationParameter(limit=1))
    cursor = first.pagination_cursor.next_cursor
    assert cursor == token_of(r'{"ref_name":"refs/heads/a\u003c\u0026\u003eü"}')
    page = PaginationParameter(limit=1, page_token=cursor)
    assert await names(refs, pagination_params=page) == [b"refs/heads/b"]


async def test_order_tags_and_exclusion_reach_git(refs: RefServicer, bare: Bare) -> None:
    commit = bare.commit()
    bare.git("update-ref", "refs/heads/a", commit)
    bare.git("update-ref", "refs/heads/b", commit)
    bare.git("tag", "-a", "-m", "t", "t", commit)
    sort_by = ListRefsRequest.SortBy(key=ListRefsRequest.SortBy.REFNAME, direction=1)  # type: ignore[arg-type]  # an enum's number
    (answer,) = await answers(
        refs, sort_by=sort_by, peel_tags=True, exclude_patterns=[b"refs/heads/a"]
    )
    assert [(one.name, one.peeled_target) for one in answer.references] == [
        (b"refs/tags/t", commit),
        (b"refs/heads/b", ""),
    ]
    tree = b"4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert await names(refs, pointing_at_oids=[tree]) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"patterns": []}, "patterns must have at least one entry"),
        ({"sort_by": {"key": 9}}, 'sorting key "9" is not supported'),
        ({"sort_by": {"direction": 9}}, "sorting direction is not supported"),
        ({"exclude_patterns": [b""]}, "empty exclude pattern"),
        ({"exclude_patterns": [b"refs/\0"]}, r'exclude pattern contains null byte: "refs/\x00"'),
        ({"exclude_patterns": [b"x"]}, 'exclude pattern must start with "refs/": "x"'),
    ],
)
async def test_lists_that_cannot_be_made_are_refused(
    refs: RefServicer, bare: Bare, more: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await answers(refs, **more)
    assert caught.value.message == text


async def test_a_failing_git_is_an_internal_error(refs: RefServicer, bare: Bare) -> None:
    with pytest.raises(NodeError) as caught:
        await answers(refs, pointing_at_oids=[b"nonsense"])
    assert isinstance(caught.value, Internal)
    assert caught.value.message == "listing failed with exit code 129"
    with pytest.raises(NodeError) as caught:
        await answers(refs, patterns=[b"--all"])
    assert caught.value.message == (
        "spawning for-each-ref: positional arg \"--all\" cannot start with dash '-': "
        "invalid argument"
    )
