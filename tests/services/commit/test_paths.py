"""LastCommitForPath, ListLastCommitsForTree, RawBlame."""

from typing import Any

import pytest

from gitaly._pb.commit_pb2 import (
    LastCommitForPathRequest,
    ListLastCommitsForTreeRequest,
    RawBlameError,
    RawBlameRequest,
)
from gitaly._pb.errors_pb2 import PathNotFoundError
from gitaly._pb.shared_pb2 import GlobalOptions
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.commit import CommitServicer
from tests.services.commit.support import CALL, History, all_of
from tests.storage.support import message


@pytest.fixture
def ids(history: History) -> list[str]:
    return [
        history.commit(files={"a": "1\n", "dir/x": "1", "*": "1"}),
        history.commit(files={"a": "1\n2\n", "dir/x": "1", "*": "1", "sub": "submodule"}),
        history.commit(files={"a": "1\n2\n", "dir/y": "2", "*": "1", "sub": "submodule"}),
    ]


async def last(commits: CommitServicer, path: bytes, **more: Any) -> str:
    fields: dict[str, Any] = {"revision": b"main", "path": path} | more
    request = LastCommitForPathRequest(repository=message(), **fields)
    return (await commits.LastCommitForPath(request, CALL)).commit.id


async def test_the_last_commit_of_a_path(commits: CommitServicer, ids: list[str]) -> None:
    first, second, third = ids
    assert await last(commits, b"") == await last(commits, b"/") == third
    assert await last(commits, b"a") == await last(commits, b"./dir/../a") == second
    assert await last(commits, b"dir") == await last(commits, b"dir/x") == third
    assert await last(commits, b"*") == third
    assert await last(commits, b"*", literal_pathspec=True) == first
    literal = GlobalOptions(literal_pathspecs=True)
    assert await last(commits, b"*", global_options=literal) == first
    assert await last(commits, b"sub") == second
    assert await last(commits, b"none") == await last(commits, b"a", revision=b"none") == ""
    with pytest.raises(Internal) as caught:
        await last(commits, b"a", revision=b"1" * 40)
    assert caught.value.message == "logging last commit for path: exit status 128"


@pytest.mark.parametrize(
    ("path", "revision", "text"),
    [
        (b"/a", b"main", "path is an absolute path"),
        (b"../a", b"main", "path escapes repository"),
        (b"a/../../b", b"main", "path escapes repository"),
        (b"a", b"--output=x", "revision can't start with '-'"),
        (b"a", b"", "empty revision"),
    ],
)
async def test_paths_outside_are_refused(
    commits: CommitServicer,
    ids: list[str],
    subcommands: list[str],
    path: bytes,
    revision: bytes,
    text: str,
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await last(commits, path, revision=revision)
    assert caught.value.message == text
    assert subcommands == []


async def listed(commits: CommitServicer, path: bytes = b"", **more: Any) -> list[tuple[str, str]]:
    fields: dict[str, Any] = {"revision": "main", "path": path, "limit": 100} | more
    request = ListLastCommitsForTreeRequest(repository=message(), **fields)
    answers = await all_of(commits.ListLastCommitsForTree(request, CALL))
    assert [len(answer.commits) for answer in answers[:-1]] == [10] * (len(answers) - 1)
    return [
        (found.path_bytes.decode(), found.commit.id)
        for answer in answers
        for found in answer.commits
    ]


async def test_the_last_commits_of_a_directory(commits: CommitServicer, ids: list[str]) -> None:
    first, second, third = ids
    whole = [("dir", third), ("*", first), ("a", second), ("sub", second)]
    for path in (b"", b"/", b".", b"./"):
        assert await listed(commits, path) == whole
    assert await listed(commits, b"dir/") == [("dir/y", third)]
    assert await listed(commits, b"dir/", revision=second) == [("dir/x", first)]
    assert await listed(commits, b"dir") == [("dir", third)]
    assert await listed(commits, b"a") == [("a", second)]
    assert await listed(commits, b"sub/") == await listed(commits, b"sub") == [("sub", second)]
    assert await listed(commits, b"*") == [("*", first)]
    assert await listed(commits, b"", offset=1, limit=2) == whole[1:3]
    assert await listed(commits, limit=0) == await listed(commits, offset=9) == []
    assert await listed(commits, b"none") == await listed(commits, b"a/") == []


async def test_ten_entries_are_in_a_message(commits: CommitServicer, history: History) -> None:
    commit = history.commit(files={f"f{n:02}": "1" for n in range(25)})
    assert await listed(commits) == [(f"f{n:02}", commit) for n in range(25)]


@pytest.mark.parametrize(
    ("more", "error", "text"),
    [
        ({"revision": ""}, InvalidRequest, "empty revision"),
        ({"offset": -1}, InvalidRequest, "offset negative"),
        ({"limit": -(2**31)}, InvalidRequest, "limit negative"),
        ({"revision": "none"}, Internal, "exit status 128"),
        ({"path": b"../a"}, Internal, "exit status 128"),
        ({"path": b"/a"}, Internal, "exit status 128"),
    ],
)
async def test_what_cannot_be_listed_is_an_error(
    commits: CommitServicer,
    ids: list[str],
    subcommands: list[str],
    more: dict[str, Any],
    error: type[NodeError],
    text: str,
) -> None:
    with pytest.raises(error) as caught:
        await listed(commits, **more)
    assert caught.value.message == text
    assert set(subcommands) <= {"cat-file"}


async def blame(commits: CommitServicer, path: bytes = b"a", **more: Any) -> bytes:
    fields: dict[str, Any] = {"revision": b"main", "path": path} | more
    request = RawBlameRequest(repository=message(), **fields)
    return b"".join([answer.data for answer in await all_of(commits.RawBlame(request, CALL))])


def blamed(output: bytes) -> list[str]:
    """The commit of each line of `git blame -p`."""
    previous, found = "", []
    for line in output.splitlines():
        if line.startswith(b"\t"):
            found.append(previous)
        elif len(line.split(b" ")[0]) == 40:
            previous = line[:40].decode()
    return found


async def test_lines_are_blamed(commits: CommitServicer, history: History, ids: list[str]) -> None:
    first, second, _third = ids
    assert (
        await blame(commits)
        == (history.repository.git("blame", "-p", "main", "--", "a") + "\n").encode()
    )
    assert blamed(await blame(commits)) == [first, second]
    assert blamed(await blame(commits, range=b"2,2")) == [second]
    assert blamed(await blame(commits, b"dir/../a", revision=first.encode())) == [first]


async def test_commits_can_be_looked_through(commits: CommitServicer, history: History) -> None:
    first = history.commit(files={"a": "one two three\n"})
    second = history.commit(files={"a": "one two  three\n"})
    history.commit(files={"a": "one two  three\n", "ignored": f"{second}\n", "bad": "nonsense\n"})
    assert blamed(await blame(commits)) == [second]
    assert blamed(await blame(commits, ignore_revisions_blob=b"main:ignored")) == [first]
    with pytest.raises(NotFound) as caught:
        await blame(commits, ignore_revisions_blob=b"main:bad")
    assert caught.value.message == "invalid object name"
    [detail] = caught.value.details
    assert isinstance(detail, RawBlameError)
    assert b"nonsense" in detail.invalid_ignore_revs_format.content
    for revision, error, text in (
        (b"main:none", NotFound, "cannot resolve ignore-revs blob"),
        (b"main", InvalidRequest, "ignore revision is not a blob"),
    ):
        with pytest.raises(error) as refused:
            await blame(commits, ignore_revisions_blob=revision)
        assert refused.value.message == text
        resolve = RawBlameError.ResolveIgnoreRevsError(ignore_revisions_blob=revision)
        assert refused.value.details == (RawBlameError(resolve_ignore_revs=resolve),)


async def test_an_empty_file_has_no_lines(commits: CommitServicer, history: History) -> None:
    history.commit(files={"a": ""})
    assert await blame(commits) == b""


async def test_what_cannot_be_blamed_is_told_apart(commits: CommitServicer, ids: list[str]) -> None:
    with pytest.raises(NotFound) as missing:
        await blame(commits, b"none")
    assert missing.value.message == "path not found in revision"
    assert missing.value.details == (RawBlameError(path_not_found=PathNotFoundError(path=b"none")),)
    with pytest.raises(InvalidRequest) as short:
        await blame(commits, range=b"5,9")
    assert short.value.message == "range is outside of the file length"
    lines = RawBlameError.OutOfRangeError(actual_lines=2)
    assert short.value.details == (RawBlameError(out_of_range=lines),)
    with pytest.raises(Internal, match="blaming file: exit status 128"):
        await blame(commits, revision=b"none")


@pytest.mark.parametrize(
    ("path", "more", "text"),
    [
        (b"", {}, "empty Path"),
        (b"/a", {}, "path escapes repository root"),
        (b"a/../../b", {}, "path escapes repository root"),
        (b"a", {"range": b"1,2\n"}, "invalid Range"),
        (b"a", {"range": b":f"}, "invalid Range"),
        (b"a", {"revision": b"--contents=/etc/passwd"}, "revision can't start with '-'"),
    ],
)
async def test_hostile_questions_start_no_git(
    commits: CommitServicer,
    ids: list[str],
    subcommands: list[str],
    path: bytes,
    more: dict[str, Any],
    text: str,
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await blame(commits, path, **more)
    assert caught.value.message == text
    assert subcommands == []
