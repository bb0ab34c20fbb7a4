"""TreeEntry, GetTreeEntries, ListFiles."""

import base64
import json
from typing import Any

import pytest

from gitaly._pb.commit_pb2 import (
    GetTreeEntriesError,
    GetTreeEntriesRequest,
    GetTreeEntriesResponse,
    ListFilesRequest,
    TreeEntry,
    TreeEntryRequest,
    TreeEntryResponse,
)
from gitaly._pb.errors_pb2 import PathError, ResolveRevisionError
from gitaly._pb.shared_pb2 import PaginationParameter
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.commit import CommitServicer
from tests.git.support import Bare
from tests.services.commit.support import CALL, History, all_of
from tests.storage.support import message

FILES = {
    "README": "hello\n",
    "run": "#!/bin/sh\n",
    "link": "-> README",
    "sub": "submodule",
    "empty": "",
    "dir/a": "a",
    "dir/z/deep/only/file": "1",
    "two/x/f": "1",
    "two/y": "2",
    "ünï\n": "odd",
}


@pytest.fixture
def commit(history: History) -> str:
    return history.commit(files=FILES)


async def entry(commits: CommitServicer, name: str, **more: Any) -> list[TreeEntryResponse]:
    fields: dict[str, Any] = {"revision": b"main", "path": name.encode()}
    request = TreeEntryRequest(repository=message(), **(fields | more))
    return await all_of(commits.TreeEntry(request, CALL))


async def tree(
    commits: CommitServicer, path: str = ".", **more: Any
) -> list[GetTreeEntriesResponse]:
    fields: dict[str, Any] = {"revision": b"main", "path": path.encode()}
    request = GetTreeEntriesRequest(repository=message(), **(fields | more))
    return await all_of(commits.GetTreeEntries(request, CALL))


async def names(commits: CommitServicer, path: str = ".", **more: Any) -> list[str]:
    return [
        entry.path.decode()
        for answer in await tree(commits, path, **more)
        for entry in answer.entries
    ]


async def test_files_links_and_executables_are_blobs(commits: CommitServicer, commit: str) -> None:
    for path, mode, data in (
        ("README", 0o100644, b"hello\n"),
        ("run", 0o100755, b"#!/bin/sh\n"),
        ("link", 0o120000, b"README"),
        ("dir/a", 0o100644, b"a"),
        ("dir/a/", 0o100644, b"a"),
        ("empty", 0o100644, b""),
        ("ünï\n", 0o100644, b"odd"),
    ):
        [answer] = await entry(commits, path)
        assert (answer.type, answer.mode, answer.data) == (TreeEntryResponse.BLOB, mode, data)
        assert answer.size == len(data)


async def test_directories_and_submodules_have_no_data(
    commits: CommitServicer, history: History, commit: str
) -> None:
    [answer] = await entry(commits, "dir", limit=1, max_size=1)
    oid = history.repository.git("rev-parse", "main:dir")
    size = int(history.repository.git("cat-file", "-s", oid))
    assert answer == TreeEntryResponse(
        type=TreeEntryResponse.TREE, oid=oid, size=size, mode=0o40000
    )
    [answer] = await entry(commits, "sub", limit=1, max_size=1)
    assert answer == TreeEntryResponse(type=TreeEntryResponse.COMMIT, oid="1" * 40, mode=0o160000)


@pytest.mark.parametrize(
    "path", ["none", "/", ".", "./README", "dir//a", "/README", "README/x", "../x", "sub/x", "a/.."]
)
async def test_what_is_not_there_is_not_found(
    commits: CommitServicer, commit: str, path: str
) -> None:
    with pytest.raises(NotFound) as caught:
        await entry(commits, path)
    assert caught.value.message == "tree entry not found"


async def test_data_are_limited_and_sizes_refused(
    commits: CommitServicer, history: History
) -> None:
    history.commit(files={"big": "0123456789" * 100_000})
    answers = await entry(commits, "big")
    assert b"".join(answer.data for answer in answers) == b"0123456789" * 100_000
    assert answers[0].size == 1_000_000
    assert not any(answer.size or answer.oid for answer in answers[1:])
    assert max(len(answer.data) for answer in answers) <= 131_072
    [answer] = await entry(commits, "big", limit=7, max_size=1_000_000)
    assert (answer.data, answer.size) == (b"0123456", 1_000_000)
    with pytest.raises(FailedPrecondition) as caught:
        await entry(commits, "big", max_size=999_999)
    assert caught.value.message == (
        "object size (1000000) is bigger than the maximum allowed size (999999)"
    )


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"revision": b""}, "empty revision"),
        ({"revision": b"-O"}, "revision can't start with '-'"),
        ({"path": b""}, "empty Path"),
        ({"limit": -1}, "negative Limit"),
        ({"max_size": -(2**63)}, "negative MaxSize"),
    ],
)
async def test_an_entry_needs_a_revision_and_a_path(
    commits: CommitServicer, commit: str, subcommands: list[str], more: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await entry(commits, "README", **more)
    assert caught.value.message == text
    assert subcommands == []


async def test_a_file_that_is_something_else_is_an_error(
    commits: CommitServicer, history: History
) -> None:
    wrong = history.tree({})
    made = history.raw("tree", b"100644 file\0" + bytes.fromhex(wrong))
    history.repository.git("update-ref", "refs/tags/odd", made)
    with pytest.raises(Internal, match="mismatched object type"):
        await entry(commits, "file", revision=b"odd")


async def test_a_directory_is_listed_with_whole_paths(
    commits: CommitServicer, history: History, commit: str
) -> None:
    [answer] = await tree(commits, "dir")
    ids = history.repository.git("rev-parse", "main:dir/a", "main:dir/z").split()
    assert list(answer.entries) == [
        TreeEntry(
            oid=ids[0],
            path=b"dir/a",
            mode=0o100644,
            commit_oid="main",
            flat_path=b"dir/a",
        ),
        TreeEntry(
            oid=ids[1],
            path=b"dir/z",
            type=TreeEntry.TREE,
            mode=0o40000,
            commit_oid="main",
            flat_path=b"dir/z/deep/only",
        ),
    ]
    assert answer.HasField("pagination_cursor")
    assert answer.pagination_cursor.next_cursor == ""


async def test_directories_are_listed_in_three_orders(commits: CommitServicer, commit: str) -> None:
    plain = ["README", "dir", "empty", "link", "run", "sub", "two", "ünï\n"]
    assert await names(commits) == plain
    assert await names(commits, sort=GetTreeEntriesRequest.TREES_FIRST) == [
        *("dir", "two", "README", "empty", "link", "run", "ünï\n", "sub")
    ]
    assert await names(commits, recursive=True) == [
        *("README", "dir", "dir/a", "dir/z", "dir/z/deep", "dir/z/deep/only"),
        *("dir/z/deep/only/file", "empty", "link", "run", "sub"),
        *("two", "two/x", "two/x/f", "two/y", "ünï\n"),
    ]
    assert await names(commits, "dir/z", recursive=True) == [
        *("dir/z/deep", "dir/z/deep/only", "dir/z/deep/only/file")
    ]


async def test_file_system_order_is_that_of_bytes(
    commits: CommitServicer, history: History
) -> None:
    history.commit(files={"a-b": "1", "a/x": "1", "a.c": "1"})
    assert await names(commits) == ["a-b", "a.c", "a"]
    assert await names(commits, sort=GetTreeEntriesRequest.FILESYSTEM) == ["a", "a-b", "a.c"]


async def test_flat_paths_can_be_skipped_and_end_somewhere(
    commits: CommitServicer, history: History
) -> None:
    history.commit(files={"/".join("abcdefghijklm"): "1"})
    [answer] = await tree(commits)
    assert answer.entries[0].flat_path == b"a/b/c/d/e/f/g/h/i/j"
    [answer] = await tree(commits, skip_flat_paths=True)
    assert answer.entries[0].flat_path == b""


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("sort", [0, 1, 2])
async def test_pages_of_entries_follow_each_other(
    commits: CommitServicer, history: History, commit: str, recursive: bool, sort: int
) -> None:
    everything = await names(commits, recursive=recursive, sort=sort)
    seen: list[str] = []
    token = ""
    for _ in range(10):
        page = PaginationParameter(limit=3, page_token=token)
        [answer] = await tree(commits, recursive=recursive, sort=sort, pagination_params=page)
        seen += [entry.path.decode() for entry in answer.entries]
        token = answer.pagination_cursor.next_cursor
        if not token:
            break
        history.commit(files={"README": "moved on\n"})  # shifts no page
        assert json.loads(base64.b64decode(token))["file_name"] == seen[-1]
    assert seen == everything


async def test_the_page_after_a_name_that_is_no_text_follows(
    commits: CommitServicer, history: History
) -> None:
    blob = history.repository.git("hash-object", "-w", "--stdin", data="x")
    raw = bytes.fromhex(blob)
    made = history.raw("tree", b"100644 \xff<\0" + raw + b"100644 \xff>\0" + raw)
    history.repository.git(
        "update-ref", "refs/heads/main", history.repository.git("commit-tree", "-m", "x", made)
    )
    [first] = await tree(commits, pagination_params=PaginationParameter(limit=1))
    token = first.pagination_cursor.next_cursor
    assert base64.b64decode(token).startswith(b'{"file_name":"\xef\xbf\xbd\\u003c","tree_oid":"')
    page = PaginationParameter(limit=1, page_token=token)
    [second] = await tree(commits, pagination_params=page)
    assert [entry.path for entry in second.entries] == [b"\xff>"]


async def test_tokens_of_old_name_an_object(
    commits: CommitServicer, history: History, commit: str
) -> None:
    oid = history.repository.git("rev-parse", "main:run")
    page = PaginationParameter(limit=1, page_token=oid)
    assert await names(commits, pagination_params=page) == ["sub"]
    for token in ("none", base64.b64encode(b'{"file_name":"none"}').decode()):
        with pytest.raises(Internal, match="could not find starting OID: none"):
            await names(commits, pagination_params=PaginationParameter(limit=1, page_token=token))
    assert await tree(commits, pagination_params=PaginationParameter()) == []
    assert len(await names(commits, pagination_params=PaginationParameter(limit=-1))) == 8


@pytest.mark.parametrize(
    ("path", "more", "error", "text"),
    [
        ("none", {}, InvalidRequest, "invalid revision or path"),
        ("none", {"recursive": True}, NotFound, "invalid revision or path"),
        ("./dir", {}, InvalidRequest, "invalid revision or path"),
        ("../dir", {}, InvalidRequest, "invalid revision or path"),
        ("/", {}, InvalidRequest, "invalid revision or path"),
        ("dir/..", {}, InvalidRequest, "invalid revision or path"),
        (".", {"revision": b"none"}, InvalidRequest, "invalid revision or path"),
        ("sub/x", {}, InvalidRequest, "invalid revision or path"),
        ("README", {}, InvalidRequest, "path not treeish"),
        ("sub", {}, NotFound, "revision doesn't exist"),
    ],
)
async def test_what_cannot_be_listed_is_an_error_with_its_revision(
    commits: CommitServicer,
    commit: str,
    path: str,
    more: dict[str, Any],
    error: type[NodeError],
    text: str,
) -> None:
    with pytest.raises(error) as caught:
        await tree(commits, path, **more)
    assert caught.value.message == text
    revision = more.get("revision", b"main")
    assert caught.value.details == (
        GetTreeEntriesError(resolve_tree=ResolveRevisionError(revision=revision)),
    )


async def test_an_empty_path_is_refused_with_its_kind(
    commits: CommitServicer, commit: str, subcommands: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await tree(commits, "")
    assert caught.value.message == "empty path"
    empty = PathError(error_type=PathError.ERROR_TYPE_EMPTY_PATH)
    assert caught.value.details == (GetTreeEntriesError(path=empty),)
    token = base64.b64encode(b'{"file_name":"","tree_oid":"--output=x"}').decode()
    with pytest.raises(InvalidRequest, match="revision can't start with '-'"):
        await tree(commits, pagination_params=PaginationParameter(limit=1, page_token=token))
    assert subcommands == []


async def files(commits: CommitServicer, revision: bytes) -> list[list[bytes]]:
    request = ListFilesRequest(repository=message(), revision=revision)
    return [list(answer.paths) for answer in await all_of(commits.ListFiles(request, CALL))]


async def test_files_are_listed_without_directories_and_submodules(
    commits: CommitServicer, commit: str
) -> None:
    expected = [
        *(b"README", b"dir/a", b"dir/z/deep/only/file", b"empty", b"link", b"run"),
        *(b"two/x/f", b"two/y", "ünï\n".encode()),
    ]
    for revision in (b"", b"main", b"HEAD"):
        assert await files(commits, revision) == [expected]


async def test_files_of_nothing(commits: CommitServicer, bare: Bare, history: History) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await files(commits, b"")
    assert caught.value.message == "repository does not have a default branch"
    assert await files(commits, b"none") == [[]]
    assert await files(commits, b"1" * 40) == []
    bare.git("update-ref", "--no-deref", "HEAD", history.commit())
    with pytest.raises(NotFound, match='revision not found ""'):
        await files(commits, b"")
