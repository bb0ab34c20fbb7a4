"""Names of references that lead to an object, or contain a commit."""

from typing import Any

import pytest

from gitaly._pb.ref_pb2 import (
    FindRefsByOIDRequest,
    ListBranchNamesContainingCommitRequest,
    ListRefsRequest,
    ListRefsResponse,
    ListTagNamesContainingCommitRequest,
)
from gitaly.errors import Internal, InvalidRequest, NodeError
from gitaly.services.ref import RefServicer
from tests.git.support import Bare
from tests.services.readers import a_call, all_of, decoded
from tests.storage.support import message, put

BOTH_FORMATS = pytest.mark.parametrize("bare", ["sha1", "sha256"], indirect=True)


@pytest.fixture
def commits(bare: Bare) -> tuple[str, str]:
    """The first is the second's parent; tags of all kinds lead to the first."""
    first = bare.commit("one")
    second = bare.commit("two", first)
    for name in ("b", "a"):
        bare.git("update-ref", f"refs/heads/{name}", first)
    bare.git("update-ref", "refs/heads/c/d", second)
    bare.git("update-ref", "refs/remotes/origin/a", first)
    bare.git("update-ref", "refs/tags/light", first)
    bare.git("tag", "-a", "-m", "x", "t1", first)
    bare.git("tag", "-a", "-m", "x", "t2", "t1")
    bare.git("tag", "-a", "-m", "x", "t3", "t2")
    bare.git("tag", "-a", "-m", "x", "other", second)
    return first, second


async def by_oid(refs: RefServicer, oid: str, **more: Any) -> list[str]:
    request = FindRefsByOIDRequest(repository=message(), oid=oid, **more)
    return list((await refs.FindRefsByOID(request, a_call())).refs)


@BOTH_FORMATS
async def test_tags_of_tags_lead_to_a_commit_too(
    refs: RefServicer, bare: Bare, commits: tuple[str, str]
) -> None:
    first, second = commits
    tags = ["refs/tags/light", "refs/tags/t1", "refs/tags/t2", "refs/tags/t3"]
    assert await by_oid(refs, first) == ["refs/heads/a", "refs/heads/b", *tags]
    assert await by_oid(refs, second) == ["refs/heads/c/d", "refs/tags/other"]
    assert await by_oid(refs, bare.git("rev-parse", "t2")) == tags[2:]
    assert await by_oid(refs, first[:12], ref_patterns=["refs/tags/"]) == tags
    assert await by_oid(refs, first, ref_patterns=["refs/remotes"]) == ["refs/remotes/origin/a"]
    assert await by_oid(refs, first, sort_field="-refname", limit=2) == tags[:1:-1]
    assert await by_oid(refs, first, limit=1) == ["refs/heads/a"]
    assert await by_oid(refs, bare.git("mktree")) == []


@pytest.mark.parametrize(
    ("oid", "more", "kind", "code"),
    [
        ("1234567", {}, InvalidRequest, 129),
        ("none", {}, InvalidRequest, 129),
        ("-x", {}, InvalidRequest, 129),
        ("--output=x", {}, InvalidRequest, 129),
        ("HEAD", {"sort_field": "nosuch"}, Internal, 128),
        ("HEAD", {"sort_field": "--shell"}, Internal, 128),
    ],
)
async def test_what_git_does_not_understand_is_an_error(
    refs: RefServicer,
    bare: Bare,
    commits: tuple[str, str],
    oid: str,
    more: dict[str, str],
    kind: type[NodeError],
    code: int,
) -> None:
    bare.git("symbolic-ref", "HEAD", "refs/heads/a")
    with pytest.raises(kind) as caught:
        await by_oid(refs, oid, **more)
    assert caught.value.message == f"for-each-ref pipeline command: exit status {code}"


async def test_an_object_id_is_needed_and_patterns_are_no_options(
    refs: RefServicer, commits: tuple[str, str]
) -> None:
    with pytest.raises(InvalidRequest, match="empty Oid"):
        await by_oid(refs, "")
    with pytest.raises(Internal, match="cannot start with dash"):
        await by_oid(refs, commits[0], ref_patterns=["--shell"])
    with pytest.raises(Internal, match="null byte"):
        await by_oid(refs, commits[0], ref_patterns=["refs/\0"])


async def test_a_name_that_is_no_utf8_cannot_be_told(
    refs: RefServicer, bare: Bare, commits: tuple[str, str]
) -> None:
    put(f"{bare.path}/refs/heads/\udcff", commits[0] + "\n")
    with pytest.raises(Internal) as caught:
        await by_oid(refs, commits[0])
    assert caught.value.message == (
        "grpc: error while marshaling: string field contains invalid UTF-8"
    )


@BOTH_FORMATS
async def test_lists_know_nested_tags_too(refs: RefServicer, commits: tuple[str, str]) -> None:
    async def listed(**more: Any) -> list[bytes]:
        request = ListRefsRequest(
            repository=message(),
            patterns=[b"refs/"],
            pointing_at_oids=[commits[0].encode()],
            **more,
        )
        answers = await decoded(ListRefsResponse, refs.ListRefs(request, a_call()))
        return [one.name for answer in answers for one in answer.references]

    assert (await listed())[-4:] == [b"refs/tags/" + x for x in (b"light", b"t1", b"t2", b"t3")]
    only = await listed(exclude_patterns=[b"refs/heads/", b"refs/tags/t"])
    assert only[0] == b"refs/remotes/origin/a"


async def branches(refs: RefServicer, commit: str, limit: int = 0) -> list[bytes]:
    request = ListBranchNamesContainingCommitRequest(
        repository=message(), commit_id=commit, limit=limit
    )
    answers = await all_of(refs.ListBranchNamesContainingCommit(request, a_call()))
    return [name for answer in answers for name in answer.branch_names]


async def tags(refs: RefServicer, commit: str, limit: int = 0) -> list[bytes]:
    request = ListTagNamesContainingCommitRequest(
        repository=message(), commit_id=commit, limit=limit
    )
    answers = await all_of(refs.ListTagNamesContainingCommit(request, a_call()))
    return [name for answer in answers for name in answer.tag_names]


@BOTH_FORMATS
async def test_names_that_contain_a_commit_are_short(
    refs: RefServicer, bare: Bare, commits: tuple[str, str]
) -> None:
    first, second = commits
    assert await branches(refs, first) == [b"a", b"b", b"c/d"]
    assert await branches(refs, first, 2) == [b"a", b"b"]
    assert await branches(refs, second) == [b"c/d"]
    assert await branches(refs, bare.commit("three")) == []
    assert await tags(refs, first) == [b"light", b"other", b"t1", b"t2", b"t3"]
    assert await tags(refs, second, 4294967295 >> 1) == [b"other"]


async def test_only_whole_ids_of_commits_can_be_contained(
    refs: RefServicer, bare: Bare, commits: tuple[str, str]
) -> None:
    for asked in (branches, tags):
        for given, text in (
            ("", 'invalid object ID: "", expected length 40, got 0'),
            ("HEAD", 'invalid object ID: "HEAD", expected length 40, got 4'),
            ("-" + "1" * 39, f"invalid object ID: \"-{'1' * 39}\", invalid character '-'"),
        ):
            with pytest.raises(InvalidRequest) as caught:
                await asked(refs, given)
            assert caught.value.message == text
        for missing in ("1" * 40, bare.git("mktree")):
            with pytest.raises(Internal) as failed:
                await asked(refs, missing)
            assert failed.value.message == "exit status 129"
