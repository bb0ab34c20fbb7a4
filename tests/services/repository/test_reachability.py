from typing import Any

import pytest

from gitaly._pb.repository_pb2 import FindMergeBaseRequest, ObjectsSizeRequest
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.git import GitBinary, GitVersion, RevisionInput, RevisionLines
from gitaly.services.repository import ReachabilityServicer
from tests.git.support import Bare
from tests.services.repository.conftest import Started
from tests.services.repository.filling import commit_files, stream
from tests.storage.support import message

CALL: Any = None  # none of these calls looks at it
OLD = GitBinary("/git", GitVersion.parse("git version 2.39.5"))
NEW = GitBinary("/git", GitVersion.parse("git version 2.42.0"))


async def merge_base(reachability: ReachabilityServicer, *revisions: bytes) -> str:
    request = FindMergeBaseRequest(repository=message(), revisions=revisions)
    return (await reachability.FindMergeBase(request, CALL)).base


async def size_of(reachability: ReachabilityServicer, *revisions: bytes) -> int:
    request = ObjectsSizeRequest(repository=message(), revisions=revisions)
    return (await reachability.ObjectsSize(stream(request), CALL)).size


async def test_the_merge_base_is_the_best_common_ancestor(
    reachability: ReachabilityServicer, either: Bare
) -> None:
    base = either.commit("base")
    for branch in ("a", "b", "c"):
        either.git("update-ref", f"refs/heads/{branch}", either.commit(branch, base))
    assert await merge_base(reachability, b"a", b"b") == base
    assert await merge_base(reachability, b"a", b"b", b"refs/heads/c") == base


async def test_without_a_merge_base_the_answer_is_empty(
    reachability: ReachabilityServicer, bare: Bare
) -> None:
    bare.git("update-ref", "refs/heads/a", bare.commit("a"))
    bare.git("update-ref", "refs/heads/b", bare.commit("b"))
    for other in (b"b", b"none", b"", b"a..b"):
        assert await merge_base(reachability, b"a", other) == ""


@pytest.mark.parametrize(
    ("revisions", "kind", "text"),
    [
        ((), InvalidRequest, "at least 2 revisions are required"),
        ((b"a",), InvalidRequest, "at least 2 revisions are required"),
        ((b"a", b"a\0b"), InvalidRequest, "revision can't contain NUL"),
        ((b"a", b"x" * 200_000), InvalidRequest, "revisions are too long or too many"),
        ((b"main",) * 300_000, InvalidRequest, "revisions are too long or too many"),
        (
            (b"a", b"--fork-point"),
            Internal,
            "cmd: positional arg \"--fork-point\" cannot start with dash '-': invalid argument",
        ),
    ],
)
async def test_what_is_no_question_about_merge_bases_starts_no_git(
    reachability: ReachabilityServicer,
    bare: Bare,
    started: Started,
    revisions: tuple[bytes, ...],
    kind: type[NodeError],
    text: str,
) -> None:
    with pytest.raises(kind) as caught:
        await merge_base(reachability, *revisions)
    assert caught.value.message == text
    assert started.subcommands == []


async def test_sizes_are_those_of_git(reachability: ReachabilityServicer, either: Bare) -> None:
    first = commit_files(either, {"a": b"a" * 1000})
    commit_files(either, {"a": b"b" * 1000, "b": b"c"}, "refs/heads/other", first)
    for revisions in (["main"], ["main", "other"], ["--all"], ["other", "--not", "main"]):
        expected = either.git("rev-list", "--disk-usage", "--objects", *revisions)
        assert await size_of(reachability, *map(str.encode, revisions)) == int(expected)


async def test_objects_of_alternates_need_not_count(
    reachability: ReachabilityServicer, bare: Bare
) -> None:
    commit_files(bare, {"a": b"a"})
    fork = Bare(f"{bare.path[:-5]}b.git")
    bare.git("clone", "--bare", "--quiet", "--shared", "--template=", bare.path, fork.path)
    request = ObjectsSizeRequest(
        repository=message("b.git"), revisions=[b"main", b"--not", b"--alternate-refs"]
    )
    assert (await reachability.ObjectsSize(stream(request), CALL)).size == 0
    added = commit_files(fork, {"b": b"b"}, parent=fork.git("rev-parse", "main"))
    expected = sum(
        int(line)
        for line in fork.git(
            "cat-file",
            "--batch-check=%(objectsize:disk)",
            data=f"{added}\n{added}:\n{added}:b\n",
        ).splitlines()
    )
    assert (await reachability.ObjectsSize(stream(request), CALL)).size == expected


async def test_revisions_may_come_in_many_messages(
    reachability: ReachabilityServicer, bare: Bare
) -> None:
    commit_files(bare, {"a": b"a"})
    commit_files(bare, {"b": b"b"}, "refs/heads/other")
    requests = stream(
        ObjectsSizeRequest(repository=message(), revisions=[b"main"]),
        ObjectsSizeRequest(revisions=[b"other"]),
    )
    size = (await reachability.ObjectsSize(requests, CALL)).size
    assert size == await size_of(reachability, b"main", b"other")


@pytest.mark.parametrize(
    ("requests", "kind", "text"),
    [
        ([], Internal, "receiving initial request: EOF"),
        ([{}], InvalidRequest, "repository not set"),
        ([{"repository": message()}], InvalidRequest, "no revisions specified"),
        (
            [{"repository": message(), "revisions": [b"main"]}, {}],
            InvalidRequest,
            "no revisions specified",
        ),
        (
            [{"repository": message(), "revisions": [b"main"]}] * 2,
            InvalidRequest,
            "subsequent requests must not contain repository",
        ),
        (
            [{"repository": message(), "revisions": [b"main", b"--output=x"]}],
            InvalidRequest,
            "validating revision: revision can't start with '-'",
        ),
        (
            [{"repository": message(), "revisions": [b"--glob=a\n--output=x"]}],
            InvalidRequest,
            "validating revision: revision can't contain whitespace",
        ),
        (
            [{"repository": message(), "revisions": [b"a\nb"]}],
            InvalidRequest,
            "validating revision: revision can't contain whitespace",
        ),
        (
            [{"repository": message(), "revisions": [b""]}],
            InvalidRequest,
            "validating revision: empty revision",
        ),
    ],
)
async def test_sizes_of_what_are_no_revisions_are_not_asked_of_git(
    reachability: ReachabilityServicer,
    bare: Bare,
    started: Started,
    requests: list[dict[str, Any]],
    kind: type[NodeError],
    text: str,
) -> None:
    commit_files(bare, {"a": b"a"})
    with pytest.raises(kind) as caught:
        await reachability.ObjectsSize(
            stream(*(ObjectsSizeRequest(**request) for request in requests)), CALL
        )
    assert caught.value.message == text
    assert started.subcommands == []


async def test_unknown_revisions_have_no_size(
    reachability: ReachabilityServicer, bare: Bare
) -> None:
    commit_files(bare, {"a": b"a"})
    with pytest.raises(NotFound) as caught:
        await size_of(reachability, b"main", b"none")
    assert caught.value.message == "revision not found"
    with pytest.raises(Internal) as failed:
        await size_of(reachability, b"1" * 40)
    assert failed.value.message == "rev-list failed with error code 128"


def lines_of(*revisions: bytes) -> RevisionLines:
    lines = RevisionLines()
    for revision in revisions:
        lines.add(revision)
    return lines


def test_the_newest_git_reads_everything_from_its_input() -> None:
    lines = lines_of(b"main", b"--not", b"--all", b"", b"never read")
    assert lines.input_for(NEW) == RevisionInput((), b"main\n--not\n--all\n")


def test_an_old_git_gets_pseudo_revisions_as_flags() -> None:
    lines = lines_of(b"main", b"--all", b"^x", b"--not", b"--tags=v*", b"a", b"^b", b"c..d")
    assert lines.input_for(OLD) == RevisionInput(
        (b"--all", b"--not", b"--tags=v*", b"--not"), b"main\n^x\n^a\nb\nd..c\n"
    )


def test_what_an_old_git_cannot_be_told_says_which_git_could() -> None:
    with pytest.raises(NodeError) as caught:
        lines_of(b"--not", b"a...b").input_for(OLD)
    assert "needs git 2.42 or newer, this node has 2.39.5" in caught.value.message


def test_revisions_are_not_collected_without_end() -> None:
    lines = RevisionLines()
    with pytest.raises(InvalidRequest):
        for _ in range(100):
            lines.add(b"x" * (1 << 20))
