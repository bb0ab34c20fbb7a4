"""ListCommits, ListAllCommits, FindAllCommits, FindCommits, CommitsByMessage."""

import asyncio
import os
from contextlib import aclosing
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gitaly._pb.commit_pb2 import (
    CommitsByMessageRequest,
    FindAllCommitsRequest,
    FindCommitsError,
    FindCommitsRequest,
    ListAllCommitsRequest,
    ListCommitsRequest,
)
from gitaly._pb.shared_pb2 import CommitStatInfo, GlobalOptions, PaginationParameter
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.commit import CommitServicer
from tests.git.support import Bare, children_of
from tests.services.commit.support import CALL, History, all_of, ids_of
from tests.storage.support import message
from tests.transport.wires import until


async def listed(commits: CommitServicer, *revisions: str, **more: Any) -> list[str]:
    request = ListCommitsRequest(repository=message(), revisions=revisions, **more)
    return await ids_of(commits.ListCommits(request, CALL))


async def found(commits: CommitServicer, **more: Any) -> list[str]:
    request = FindCommitsRequest(repository=message(), **({"limit": 100} | more))
    return await ids_of(commits.FindCommits(request, CALL))


@pytest.fixture
def ids(history: History) -> list[str]:
    """Five commits of main, the last one a merge of `side`; oldest first, side fourth."""
    first = history.commit("first\n", {"a": "1"})
    second = history.commit("Second [x]\n", {"a": "2", "b": "1"}, author="Ada <ada@example.com>")
    third = history.commit("third\n", {"a": "2", "b": "1", "*": "1"})
    side = history.commit("side\n", {"a": "s"}, parents=[first], branch="side")
    merge = history.commit(
        "merge\n", {"a": "2", "b": "1", "*": "1", "s": "s"}, parents=[third, side]
    )
    return [first, second, third, side, merge]


async def test_commits_are_listed_as_rev_list_walks(
    commits: CommitServicer, ids: list[str]
) -> None:
    first, second, third, side, merge = ids
    assert await listed(commits, "main") == [merge, side, third, second, first]
    assert await listed(commits, "main", "^side") == [merge, third, second]
    assert await listed(commits, "side..main") == [merge, third, second]
    assert await listed(commits, "main", "--not", "side") == [merge, third, second]
    assert await listed(commits, "--branches=si*") == [side, first]
    assert await listed(commits, "main", reverse=True) == ids
    assert await listed(commits, "main", first_parent=True) == [merge, third, second, first]
    assert await listed(commits, "main", max_parents=1) == [side, third, second, first]
    assert await listed(commits, "main", "side", disable_walk=True) == [merge, side]
    assert await listed(commits, "main", skip=3) == [second, first]
    assert await listed(commits, "main", author=b"ADA", ignore_case=True) == [second]
    assert await listed(commits, "main", author=b"ADA") == []
    patterns = [b"^first", b"x"]
    assert await listed(commits, "main", commit_message_patterns=patterns) == [second, first]
    assert await listed(commits, "main", paths=[b"b"]) == [second]
    assert await listed(commits, "main", paths=[b"*"]) == [merge, side, third, second, first]
    literal = GlobalOptions(literal_pathspecs=True)
    assert await listed(commits, "main", paths=[b"*"], global_options=literal) == [third]
    assert await listed(commits, "main", order=ListCommitsRequest.TOPO) == [
        *(merge, side, third, second, first)
    ]
    since = Timestamp(seconds=1_700_000_180)
    assert await listed(commits, "main", after=since) == [merge, side, third]
    assert await listed(commits, "main", before=since) == [third, second, first]


async def test_pages_of_commits_follow_each_other(commits: CommitServicer, ids: list[str]) -> None:
    seen, token = [], ""
    while True:
        page = PaginationParameter(limit=2, page_token=token)
        request = ListCommitsRequest(
            repository=message(), revisions=["main"], pagination_params=page
        )
        answers = await all_of(commits.ListCommits(request, CALL))
        seen.append([commit.id for answer in answers for commit in answer.commits])
        token = answers[-1].pagination_cursor.next_cursor
        if not answers[-1].HasField("pagination_cursor"):
            break
        assert token == seen[-1][-1]
    first, second, third, side, merge = ids
    assert seen == [[merge, side], [third, second], [first]]


async def test_a_limit_of_nothing_is_no_limit(commits: CommitServicer, ids: list[str]) -> None:
    for limit in (0, -1):
        assert len(await listed(commits, "main", pagination_params={"limit": limit})) == 5
    unknown = PaginationParameter(page_token="1" * 40, limit=2)
    assert await listed(commits, "main", pagination_params=unknown) == []
    backwards = PaginationParameter(limit=2)
    assert await listed(commits, "main", reverse=True, pagination_params=backwards) == ids[:2]


async def test_the_largest_numbers_are_numbers(commits: CommitServicer, ids: list[str]) -> None:
    largest = 2**31 - 1
    assert len(await listed(commits, "main", pagination_params={"limit": largest})) == 5
    assert len(await found(commits, limit=largest)) == 5
    assert await found(commits, limit=largest, offset=largest) == []
    follow = {"limit": largest, "offset": largest, "follow": True, "paths": [b"a"]}
    assert await found(commits, **follow) == []


async def test_patterns_that_no_command_line_takes_are_refused(
    commits: CommitServicer, ids: list[str]
) -> None:
    long = b"x" * 200_000
    for more in ({"author": long}, {"commit_message_patterns": [long]}, {"paths": [long] * 9}):
        with pytest.raises(InvalidRequest) as caught:
            await listed(commits, "main", **more)
        assert caught.value.message.endswith("arguments are too long for a command line")


async def test_long_lists_of_revisions_mean_the_same(
    commits: CommitServicer, ids: list[str]
) -> None:
    first, second, third, _, merge = ids
    assert await listed(commits, "main", *["--not", "side"], *["side"] * 20_000) == [
        *(merge, third, second)
    ]
    assert await listed(commits, *["^side"] * 20_000, "main") == [merge, third, second]
    assert await listed(commits, "--not", *[first] * 3000, "--not", "--all") == [
        *(merge, ids[3], third, second)
    ]


@pytest.mark.parametrize("revision", ["none", "1" * 40, "none..main"])
async def test_unknown_revisions_are_an_error_with_gits_words(
    commits: CommitServicer, ids: list[str], revision: str
) -> None:
    with pytest.raises(Internal) as caught:
        await listed(commits, "main", revision)
    assert caught.value.message.startswith(
        'iterating objects: rev-list pipeline command: exit status 128, stderr: "fatal: bad '
    )


@pytest.mark.parametrize(
    ("revisions", "text"),
    [
        ([], "missing revisions"),
        ([""], "invalid revision: empty revision"),
        (["main", "--output=x"], "invalid revision: revision can't start with '-'"),
        (["--glob=x\n--output=y"], "invalid revision: revision can't contain whitespace"),
        (["a b"], "invalid revision: revision can't contain whitespace"),
    ],
)
async def test_hostile_revisions_start_no_git(
    commits: CommitServicer,
    ids: list[str],
    subcommands: list[str],
    revisions: list[str],
    text: str,
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await listed(commits, *revisions)
    assert caught.value.message == text
    assert subcommands == []


async def test_all_commits_are_found_reachable_or_not(
    commits: CommitServicer, history: History, ids: list[str]
) -> None:
    lost = history.repository.commit("lost")
    request = ListAllCommitsRequest(repository=message())
    everything = await ids_of(commits.ListAllCommits(request, CALL))
    assert sorted(everything) == sorted([*ids, lost])
    page = PaginationParameter(limit=2, page_token=everything[1])
    request = ListAllCommitsRequest(repository=message(), pagination_params=page)
    assert await ids_of(commits.ListAllCommits(request, CALL)) == everything[2:4]


async def test_a_quarantine_alone_lists_only_what_is_in_it(
    commits: CommitServicer, history: History, ids: list[str]
) -> None:
    path = history.repository.path
    os.mkdir(f"{path}/objects/q")
    environment = {
        "GIT_OBJECT_DIRECTORY": f"{path}/objects/q",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{path}/objects",
    }
    tree = history.tree({})
    new = history.repository.git("commit-tree", "-m", "new", tree, env=environment)
    request = ListAllCommitsRequest(repository=message(git_object_directory="objects/q"))
    assert await ids_of(commits.ListAllCommits(request, CALL)) == [new]


async def test_histories_of_one_or_all_branches(commits: CommitServicer, ids: list[str]) -> None:
    first, second, third, side, merge = ids

    async def all_found(**more: Any) -> list[str]:
        request = FindAllCommitsRequest(repository=message(), **more)
        return await ids_of(commits.FindAllCommits(request, CALL))

    assert await all_found() == [merge, side, third, second, first]
    assert await all_found(revision=b"side") == [side, first]
    assert await all_found(revision=b"none") == []
    assert await all_found(revision=b"main", max_count=2, skip=1) == [side, third]
    assert await all_found(order=FindAllCommitsRequest.TOPO) == [merge, side, third, second, first]


async def test_histories_are_filtered(commits: CommitServicer, ids: list[str]) -> None:
    first, second, third, side, merge = ids
    assert await found(commits) == [merge, side, third, second, first]
    assert await found(commits, revision=b"side") == [side, first]
    assert await found(commits, limit=0) == []
    assert await found(commits, limit=-1, offset=3) == [second, first]
    assert await found(commits, limit=2, offset=1) == [side, third]
    assert await found(commits, all=True) == ids
    assert await found(commits, paths=[b"b"]) == [second]
    assert await found(commits, paths=[b"b"], follow=True, offset=1) == [first]  # as "a"
    assert await found(commits, paths=[b"b"], follow=True, offset=2) == []
    assert await found(commits, paths=[b"a"], follow=True, offset=1, limit=1) == [second]
    assert await found(commits, skip_merges=True) == [side, third, second, first]
    assert await found(commits, first_parent=True) == [merge, third, second, first]
    assert await found(commits, author=b"Ada") == [second]
    assert await found(commits, message_regex="SECOND") == [second]
    since = Timestamp(seconds=1_700_000_180, nanos=5)
    assert await found(commits, after=since) == [merge, side, third]
    assert await found(commits, before=since) == [third, second, first]


async def test_histories_tell_statistics_trailers_and_references(
    commits: CommitServicer, history: History
) -> None:
    first = history.commit("one\n\nA: \x01\x02 b\n", {"a": "1\n2\n"})
    history.repository.git("tag", "-a", "-m", "x", "v1")
    second = history.commit("two\n", {"a": "1\n"})
    history.commit("three\n", {"a": "1\n"})
    request = FindCommitsRequest(
        repository=message(),
        limit=9,
        trailers=True,
        include_shortstat=True,
        include_referenced_by=[b"refs/heads/", b"refs/tags/", b"HEAD"],
    )
    [answer] = await all_of(commits.FindCommits(request, CALL))
    three, two, one = answer.commits
    assert (two.id, one.id) == (second, first)
    assert not three.HasField("short_stats")
    assert list(three.referenced_by) == [b"HEAD", b"refs/heads/main"]
    assert two.short_stats == CommitStatInfo(changed_files=1, deletions=1)
    assert one.short_stats == CommitStatInfo(changed_files=1, additions=2)
    assert list(one.referenced_by) == [b"refs/tags/v1"]
    assert [(t.key, t.value) for t in one.trailers] == [(b"A", b"\x01\x02 b")]


@pytest.mark.parametrize("revision", [b"none", b"1" * 40, b"none..main"])
async def test_a_history_of_nothing_is_not_found(
    commits: CommitServicer, ids: list[str], revision: bytes
) -> None:
    with pytest.raises(NotFound) as caught:
        await found(commits, revision=revision)
    assert caught.value.message == "commits not found"
    assert caught.value.details == (FindCommitsError(),)


async def test_other_failures_of_a_history_are_internal(
    commits: CommitServicer, ids: list[str]
) -> None:
    with pytest.raises(Internal) as caught:
        await found(commits, message_regex="[")
    assert caught.value.message == "listing commits failed"


async def test_an_empty_path_is_refused(commits: CommitServicer, ids: list[str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await found(commits, paths=[b"a", b""])
    assert caught.value.message == "path is empty string"


async def test_messages_are_searched(commits: CommitServicer, ids: list[str]) -> None:
    async def said(query: str, **more: Any) -> list[str]:
        request = CommitsByMessageRequest(repository=message(), query=query, **more)
        return await ids_of(commits.CommitsByMessage(request, CALL))

    first, second, _third, side, _merge = ids
    assert await said("S") == [side, second, first]
    assert await said("s", revision=b"side", offset=1) == [first]
    assert await said("s", limit=1) == [side]
    assert await said("s", path=b"b") == [second]
    assert await said("none") == await said("s", revision=b"none") == []
    with pytest.raises(InvalidRequest) as caught:
        await said("")
    assert caught.value.message == "empty Query"


async def test_nothing_comes_of_an_empty_repository(commits: CommitServicer, bare: Bare) -> None:
    assert (
        await ids_of(commits.FindAllCommits(FindAllCommitsRequest(repository=message()), CALL))
        == []
    )
    with pytest.raises(NotFound):
        await found(commits)
    with pytest.raises(Internal):
        await listed(commits, "HEAD")


async def test_large_lists_come_in_messages_of_less_than_a_mebibyte(
    commits: CommitServicer, history: History
) -> None:
    for number in range(150):
        history.commit(f"{number}\n" + "x" * 9_990)
    request = ListCommitsRequest(repository=message(), revisions=["main"])
    answers = await all_of(commits.ListCommits(request, CALL))
    assert [len(answer.commits) for answer in answers] == [102, 48]
    assert all(answer.ByteSize() < 1_100_000 for answer in answers)


async def test_a_list_that_is_left_early_stops_git(
    commits: CommitServicer, history: History
) -> None:
    stream = "".join(
        f"commit refs/heads/many\ncommitter J <j@x> {n} +0000\ndata 9000\n{'x' * 8999}\n\n"
        for n in range(5000)
    )
    history.repository.git("fast-import", "--quiet", data=stream)
    strangers = set(children_of(os.getpid()))
    requests: list[Any] = [
        commits.ListCommits(ListCommitsRequest(repository=message(), revisions=["many"]), CALL),
        commits.FindCommits(
            FindCommitsRequest(repository=message(), revision=b"many", limit=-1), CALL
        ),
        commits.ListAllCommits(ListAllCommitsRequest(repository=message()), CALL),
    ]
    for answers in requests:
        async with aclosing(answers):
            await anext(answers)
    kept = 1  # a cat-file waits for the next question

    await until(lambda: len(set(children_of(os.getpid())) - strangers) <= kept)


async def test_a_list_that_is_cancelled_stops_git(
    commits: CommitServicer, history: History
) -> None:
    history.commit()
    strangers = set(children_of(os.getpid()))
    for turns in range(20):
        task = asyncio.ensure_future(listed(commits, "main"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await until(lambda: len(set(children_of(os.getpid())) - strangers) <= 1)


async def test_repositories_are_checked_first(commits: CommitServicer, bare: Bare) -> None:
    request = ListCommitsRequest(repository=message("none.git"))
    with pytest.raises(NodeError, match="repository not found"):
        await all_of(commits.ListCommits(request, CALL))


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
async def test_any_part_of_the_newest_commits_is_what_git_would_tell(
    commits: CommitServicer, ids: list[str], limit: int
) -> None:
    all_of_them = await listed(commits, "main", order=ListCommitsRequest.DATE)  # by git
    for start in range(6):
        expected = all_of_them[start : start + limit]
        assert await found(commits, revision=b"main", limit=limit, offset=start) == expected
        token = all_of_them[start - 1] if start else ""
        request = ListCommitsRequest(
            repository=message(),
            revisions=["main"],
            pagination_params=PaginationParameter(page_token=token, limit=limit),
        )
        answers = await all_of(commits.ListCommits(request, CALL))
        assert [commit.id for answer in answers for commit in answer.commits] == expected
        goes_on = start + limit < len(all_of_them)
        cursors = [answer.pagination_cursor.next_cursor for answer in answers]
        assert cursors == ([expected[-1] if goes_on else ""] if expected else [])


@pytest.mark.parametrize("objects", ["in process"], indirect=True)
async def test_a_few_of_the_newest_commits_need_no_git(
    commits: CommitServicer, ids: list[str], subcommands: list[str]
) -> None:
    assert len(await found(commits, revision=b"main", limit=3, offset=1)) == 3
    assert len(await listed(commits, "main", pagination_params=PaginationParameter(limit=3))) == 3
    assert subcommands == []
    await found(commits, revision=b"main", limit=3, skip_merges=True)
    await listed(commits, "main", first_parent=True, pagination_params=PaginationParameter(limit=3))
    await listed(commits, "main", "side", pagination_params=PaginationParameter(limit=3))
    await listed(commits, "main")
    assert subcommands == ["log", "rev-list", "rev-list", "rev-list"]
