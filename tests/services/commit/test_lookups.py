"""ListCommitsByOid and …ByRefName, CheckObjectsExist, messages and signatures, numbers."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gitaly._pb.commit_pb2 import (
    CheckObjectsExistRequest,
    CommitIsAncestorRequest,
    CommitStatsRequest,
    CommitStatsResponse,
    CountCommitsRequest,
    CountDivergingCommitsRequest,
    FilterShasWithSignaturesRequest,
    FindCommitsRequest,
    GetCommitMessagesRequest,
    GetCommitMessagesResponse,
    GetCommitSignaturesRequest,
    GetCommitSignaturesResponse,
    ListCommitsByOidRequest,
    ListCommitsByRefNameRequest,
)
from gitaly._pb.shared_pb2 import GlobalOptions
from gitaly.errors import Internal, InvalidRequest, NotFound
from gitaly.git import EMPTY_TREE
from gitaly.services.commit import CommitServicer
from tests.services.commit.support import A_COMMITTER, CALL, History, all_of, ids_of
from tests.services.readers import decoded
from tests.storage.support import message

T = TypeVar("T")


async def stream(requests: Sequence[T]) -> AsyncIterator[T]:
    for request in requests:
        yield request


async def test_commits_are_found_by_any_name_in_the_order_of_the_request(
    commits: CommitServicer, history: History
) -> None:
    one, two = history.commit(), history.commit()
    names = [two, "none", one[:9], "", "main~1", two, "-x", f"{two}^{{tree}}"]
    request = ListCommitsByOidRequest(repository=message(), oid=names)
    assert await ids_of(commits.ListCommitsByOid(request, CALL)) == [two, one, one, two]
    nothing = ListCommitsByOidRequest(repository=message(), oid=["none"])
    assert await all_of(commits.ListCommitsByOid(nothing, CALL)) == []


async def test_commits_come_with_the_names_of_their_references(
    commits: CommitServicer, history: History
) -> None:
    one = history.commit()
    history.repository.git("update-ref", "refs/heads/\udcff", one)
    names = [b"main", b"refs/heads/none", b"refs/heads/\xff", b"HEAD"]
    request = ListCommitsByRefNameRequest(repository=message(), ref_names=names)
    [answer] = await all_of(commits.ListCommitsByRefName(request, CALL))
    assert [(found.ref_name, found.commit.id) for found in answer.commit_refs] == [
        *((b"main", one), (b"refs/heads/\xff", one), (b"HEAD", one))
    ]


async def exist(commits: CommitServicer, *requests: Sequence[bytes]) -> list[tuple[bytes, bool]]:
    messages = [
        CheckObjectsExistRequest(repository=None if place else message(), revisions=revisions)
        for place, revisions in enumerate(requests)
    ]
    answers = await all_of(commits.CheckObjectsExist(stream(messages), CALL))
    return [(found.name, found.exists) for answer in answers for found in answer.revisions]


async def test_objects_exist_or_not_by_whatever_name(
    commits: CommitServicer, history: History
) -> None:
    history.commit(files={"a b": "1", "sub": "submodule"})
    names = [
        *(b"main", b"none", b"main:a b", b"main:none", b"main:sub", b"0" * 40),
        *(EMPTY_TREE["sha1"].encode(), b"HEAD^{tree}", b"main:x\ny"),
    ]
    found = await exist(commits, names[:2], [], names[2:])
    assert [name for name, _ in found] == names
    assert [name for name, exists in found if exists] == [
        *(b"main", b"main:a b", EMPTY_TREE["sha1"].encode(), b"HEAD^{tree}")
    ]
    assert await exist(commits, []) == []


async def test_existences_are_asked_for_politely(
    commits: CommitServicer, history: History, subcommands: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await exist(commits, [b"main", b"--all"])
    assert caught.value.message == "invalid revision: revision can't start with '-'"
    with pytest.raises(Internal, match="EOF"):
        await all_of(commits.CheckObjectsExist(stream([]), CALL))
    assert subcommands == []


async def test_messages_come_whole(commits: CommitServicer, history: History) -> None:
    long = "x" * 300_000 + "\n"
    history.commit(long)
    history.commit("short\n")
    request = GetCommitMessagesRequest(repository=message(), commit_ids=["main~1", "main"])
    answers = await decoded(GetCommitMessagesResponse, commits.GetCommitMessages(request, CALL))
    assert [answer.commit_id for answer in answers] == ["main~1", "", "", "", "main", ""]
    assert b"".join(answer.message for answer in answers[:4]) == long.encode()
    assert [answer.message for answer in answers[4:]] == [b"", b"short\n"]
    request = GetCommitMessagesRequest(repository=message(), commit_ids=["main", "none"])
    with pytest.raises(Internal) as caught:
        await all_of(commits.GetCommitMessages(request, CALL))
    assert caught.value.message == "failed to get commit message: object not found"


def signed(history: History, *headers: str) -> tuple[str, bytes]:
    """A commit with headers behind the committer, and what would be in it without them."""
    start = f"tree {history.tree({})}\nauthor {A_COMMITTER}\ncommitter {A_COMMITTER}\n"
    lines = "".join(header + "\n" for header in headers)
    made = history.raw("commit", (start + lines + "\nmessage\n").encode())
    return made, (start + "\nmessage\n").encode()


PGP = ("gpgsig -----BEGIN PGP SIGNATURE-----", " ", " abc", " -----END PGP SIGNATURE-----")


async def test_signatures_come_with_exactly_what_was_signed(
    commits: CommitServicer, history: History
) -> None:
    one, payload = signed(history, *PGP)
    plain, _ = signed(history)
    both, _ = signed(history, *PGP, "gpgsig-sha256 second", " more", "encoding x")
    request = GetCommitSignaturesRequest(
        repository=message(), commit_ids=[one, plain, "1" * 40, both]
    )
    answers = await all_of(commits.GetCommitSignatures(request, CALL))
    assert [answer.commit_id for answer in answers] == [one, "", both, ""]
    signature = b"-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----"
    assert answers[0].signature == answers[2].signature == signature
    assert answers[0].signer == GetCommitSignaturesResponse.SIGNER_USER
    assert answers[0].author.name == answers[0].committer.name == b"Jane Doe"
    assert answers[1] == GetCommitSignaturesResponse(signed_text=payload)
    assert answers[3].signed_text == payload.replace(b"\n\nmes", b"\nencoding x\n\nmes")


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], "empty CommitIds"),
        (["main"], 'invalid object ID: "main", expected length 40, got 4'),
        (["G" * 40], f"invalid object ID: \"{'G' * 40}\", invalid character 'G'"),
    ],
)
async def test_signatures_are_of_whole_object_ids(
    commits: CommitServicer, history: History, ids: list[str], text: str
) -> None:
    request = GetCommitSignaturesRequest(repository=message(), commit_ids=ids)
    with pytest.raises(InvalidRequest) as caught:
        await all_of(commits.GetCommitSignatures(request, CALL))
    assert caught.value.message == text


async def test_each_request_for_signed_commits_gets_its_answer(
    commits: CommitServicer, history: History
) -> None:
    one, _ = signed(history, *PGP)
    plain, _ = signed(history)
    requests = [
        FilterShasWithSignaturesRequest(
            repository=message(), shas=[plain.encode(), one.encode(), b"none", one[:9].encode()]
        ),
        FilterShasWithSignaturesRequest(shas=[plain.encode()]),
        FilterShasWithSignaturesRequest(),
    ]
    answers = await all_of(commits.FilterShasWithSignatures(stream(requests), CALL))
    assert [list(answer.shas) for answer in answers] == [[one.encode(), one[:9].encode()], [], []]
    with pytest.raises(Internal, match="EOF"):
        await all_of(commits.FilterShasWithSignatures(stream([]), CALL))


async def test_ancestors(commits: CommitServicer, history: History) -> None:
    one, two = history.commit(), history.commit()
    for ancestor, child, value in (
        (one, two, True),
        (two, one, False),
        (one, one, True),
        ("main~1", "main", True),
        ("none", "main", False),
        (f"{one}^{{tree}}", two, False),
    ):
        request = CommitIsAncestorRequest(
            repository=message(), ancestor_id=ancestor, child_id=child
        )
        assert (await commits.CommitIsAncestor(request, CALL)).value is value
    for ancestor, child, text in (
        ("", "main", "empty ancestor sha"),
        ("main", "", "empty child sha"),
    ):
        request = CommitIsAncestorRequest(
            repository=message(), ancestor_id=ancestor, child_id=child
        )
        with pytest.raises(InvalidRequest) as caught:
            await commits.CommitIsAncestor(request, CALL)
        assert caught.value.message == text


async def test_what_git_would_take_for_an_option_never_reaches_it(
    commits: CommitServicer, history: History
) -> None:
    request = CommitIsAncestorRequest(repository=message(), ancestor_id="--all", child_id="x")
    with pytest.raises(Internal) as caught:
        await commits.CommitIsAncestor(request, CALL)
    assert caught.value.message == (
        "positional arg \"--all\" cannot start with dash '-': invalid argument"
    )


async def test_commits_are_counted(commits: CommitServicer, history: History) -> None:
    first = history.commit(files={"a": "1", "*": "1"})
    history.commit(files={"a": "2", "*": "1"})
    history.commit(parents=[first], branch="side")

    async def count(**more: Any) -> int:
        request = CountCommitsRequest(repository=message(), **more)
        return (await commits.CountCommits(request, CALL)).count

    literal = GlobalOptions(literal_pathspecs=True)
    since = Timestamp(seconds=1_700_000_120)
    assert await count(revision=b"main") == 2
    assert await count(all=True) == 3
    assert await count(revisions=[b"main", b"^side"]) == 1
    assert await count(revisions=[b"--not", b"side", b"--not", b"--all"]) == 1
    assert await count(revision=b"main", path=b"*") == 2
    assert await count(revision=b"main", path=b"*", global_options=literal) == 1
    assert await count(revision=b"main", max_count=1) == 1
    assert await count(revision=b"main", max_count=-(2**31)) == 2
    assert await count(revision=b"main", after=since) == 1
    assert await count(revision=b"main", before=since) == 2
    assert await count(revision=b"none") == await count(revisions=[b"none"]) == 0
    for more, text in (
        ({}, "empty Revision and false All"),
        ({"revision": b"-x"}, "revision can't start with '-'"),
        ({"revisions": [b""]}, "invalid revision: empty revision"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await count(**more)
        assert caught.value.message == text


async def test_diverging_commits_are_counted_on_both_sides(
    commits: CommitServicer, history: History
) -> None:
    first = history.commit()
    history.commit()
    history.commit(parents=[first], branch="side")
    history.commit(branch="side")

    async def diverging(one: bytes, other: bytes, count: int = 0) -> tuple[int, int]:
        request = CountDivergingCommitsRequest(
            repository=message(), to=other, max_count=count, **{"from": one}
        )
        answer = await commits.CountDivergingCommits(request, CALL)
        return answer.left_count, answer.right_count

    assert await diverging(b"main", b"side") == (1, 2)
    assert sum(await diverging(b"main", b"side", 2)) == 2
    with pytest.raises(Internal, match="gi rev-list error: exit status 128"):
        await diverging(b"main", b"none")
    with pytest.raises(InvalidRequest, match="from and to are both required"):
        await diverging(b"main", b"")
    with pytest.raises(InvalidRequest, match="revision can't start with '-'"):
        await diverging(b"--all", b"main")


async def test_statistics_count_lines_and_files(commits: CommitServicer, history: History) -> None:
    async def stats(revision: bytes) -> CommitStatsResponse:
        request = CommitStatsRequest(repository=message(), revision=revision)
        return await commits.CommitStats(request, CALL)

    first = history.commit(files={"a": "1\n2\n", "b": "\0"})
    assert await stats(b"main") == CommitStatsResponse(oid=first, additions=2, files=2)
    second = history.commit(files={"c": "1\n2\n", "b": "\0\0"})  # a is renamed
    history.repository.git("tag", "-a", "-m", "x", "v1")
    assert await stats(b"v1") == CommitStatsResponse(oid=second, files=2)
    merge = history.commit(files={"c": "1\n2\n3\n"}, parents=[second, first])
    assert await stats(b"main") == CommitStatsResponse(oid=merge, additions=1, files=2)
    with pytest.raises(Internal) as caught:
        await stats(b"none")
    assert caught.value.message == "object not found"


async def test_attributes_of_head_say_what_is_binary(
    commits: CommitServicer, history: History
) -> None:
    one = history.commit(files={"a": "1\n", "b": "1\n"})
    two = history.commit(files={"a": "1\n2\n", "b": "1\n2\n"})
    history.commit(files={".gitattributes": "a -diff\n"})
    request = CommitStatsRequest(repository=message(), revision=two.encode())
    assert await commits.CommitStats(request, CALL) == CommitStatsResponse(
        oid=two, additions=1, files=2
    )
    listed = FindCommitsRequest(
        repository=message(), revision=two.encode(), limit=2, include_shortstat=True
    )
    [answer] = await all_of(commits.FindCommits(listed, CALL))
    assert [commit.id for commit in answer.commits] == [two, one]
    assert [commit.short_stats.additions for commit in answer.commits] == [1, 1]


async def test_a_repository_that_is_not_there_is_not_found(commits: CommitServicer) -> None:
    first = CheckObjectsExistRequest(repository=message("none.git"))
    with pytest.raises(NotFound, match="repository not found"):
        await all_of(commits.CheckObjectsExist(stream([first]), CALL))
