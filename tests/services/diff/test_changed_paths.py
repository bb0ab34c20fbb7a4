from typing import Any

import pytest

from gitaly._pb.diff_pb2 import ChangedPaths, FindChangedPathsRequest
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.diff import DiffServicer
from tests.services.diff.support import CALL, Asked, everything

ADDED, MODIFIED, DELETED, TYPE_CHANGE, _, RENAMED = range(6)
ALL_PARENTS = FindChangedPathsRequest.MERGE_COMMIT_DIFF_MODE_ALL_PARENTS
Found = tuple[bytes, int, str]


async def ask(servicer: DiffServicer, asked: Asked, **more: Any) -> list[ChangedPaths]:
    request = FindChangedPathsRequest(repository=asked.message, **more)
    answers = await everything(servicer.FindChangedPaths(request, CALL))
    return [path for answer in answers for path in answer.paths]


def short(paths: list[ChangedPaths]) -> list[Found]:
    return [(path.path, path.status, path.commit_id) for path in paths]


def commit(revision: str, *parents: str) -> dict[str, Any]:
    return {
        "commit_request": {"commit_revision": revision, "parent_commit_revisions": list(parents)}
    }


def trees(left: str, right: str) -> dict[str, Any]:
    return {"tree_request": {"left_tree_revision": left, "right_tree_revision": right}}


@pytest.mark.parametrize("asked", ["sha1", "sha256"], indirect=True)
async def test_a_changed_path_is_told_completely(servicer: DiffServicer, asked: Asked) -> None:
    first = asked.commit({"a\n:": "1"})
    second = asked.child({"a\n:": ("100755", "2")}, first)
    assert await ask(servicer, asked, commits=[second]) == [
        ChangedPaths(
            path=b"a\n:",
            status=ChangedPaths.MODIFIED,
            old_mode=0o100644,
            new_mode=0o100755,
            old_blob_id=asked.blob("1"),
            new_blob_id=asked.blob("2"),
            commit_id=second,
        )
    ]


async def test_commits_follow_each_other_and_the_first_of_all_adds_everything(
    servicer: DiffServicer, asked: Asked
) -> None:
    first = asked.commit({"a": "1", "d/b": "1", "t": "1"})
    second = asked.child({"a": "2", "c": "1", "t": ("120000", "1")}, first)
    asked.bare.git("tag", "-m", "t", "annotated", second)
    assert short(await ask(servicer, asked, commits=["annotated", first])) == [
        (b"a", MODIFIED, second),
        (b"c", ADDED, second),
        (b"d/b", DELETED, second),
        (b"t", TYPE_CHANGE, second),
        (b"a", ADDED, first),
        (b"d/b", ADDED, first),
        (b"t", ADDED, first),
    ]
    assert short(await ask(servicer, asked, requests=[commit(first, second)])) == [
        (b"a", MODIFIED, first),
        (b"c", DELETED, first),
        (b"d/b", ADDED, first),
        (b"t", TYPE_CHANGE, first),
    ]


async def test_trees_have_no_commit_nor_has_anything_asked_with_them(
    servicer: DiffServicer, asked: Asked
) -> None:
    first, second = asked.commit({"a": "1"}), asked.commit({"a": "2"})
    requests = [trees(first, f"{second}^{{tree}}"), trees(first, first), commit(second)]
    assert short(await ask(servicer, asked, requests=requests)) == [
        (b"a", MODIFIED, ""),
        (b"a", ADDED, ""),
    ]


async def test_merges_are_compared_with_each_parent_or_all_of_them(
    servicer: DiffServicer, asked: Asked
) -> None:
    base = asked.commit({"a": "1", "b": "1", "c": "1"})
    left = asked.child({"a": "2", "b": "1", "c": "2"}, base)
    right = asked.child({"a": "1", "b": "2"}, base)
    merge = asked.child({"a": "2", "b": "2", "c": "3"}, left, right)
    assert short(await ask(servicer, asked, commits=[merge])) == [
        *((b"b", MODIFIED, merge), (b"c", MODIFIED, merge)),
        *((b"a", MODIFIED, merge), (b"c", ADDED, merge)),
    ]
    combined = await ask(servicer, asked, commits=[merge], merge_commit_diff_mode=ALL_PARENTS)
    assert short(combined) == [(b"c", MODIFIED, merge), (b"c", ADDED, merge)]
    assert [path.old_blob_id for path in combined] == [asked.blob("2"), "0" * 40]
    assert [path.old_mode for path in combined] == [0o100644, 0]
    assert {path.new_blob_id for path in combined} == {asked.blob("3")}


async def test_renames_are_found_if_asked_for(servicer: DiffServicer, asked: Asked) -> None:
    text = "".join(f"{n}\n" for n in range(10))
    first = asked.commit({"old": text})
    second = asked.child({"new": text[:-6]}, first)
    [renamed] = await ask(servicer, asked, commits=[second], find_renames=True)
    assert (renamed.status, renamed.old_path, renamed.path) == (RENAMED, b"old", b"new")
    assert renamed.score == 0
    two = await ask(servicer, asked, commits=[second])
    assert [(path.path, path.status, path.old_path) for path in two] == [
        *((b"new", ADDED, b""), (b"old", DELETED, b"")),
    ]


async def test_filters_choose_states(servicer: DiffServicer, asked: Asked) -> None:
    first = asked.commit({"a": "1", "b": "1"})
    second = asked.child({"a": "2", "c": "1"}, first)
    for filters, found in (([1], [b"c"]), ([2, 3, 2], [b"a", b"b"]), ([4, 5, 6], [])):
        paths = await ask(servicer, asked, commits=[second], diff_filters=filters)
        assert [path.path for path in paths] == found


async def test_long_lists_come_in_messages_below_a_mebibyte(
    servicer: DiffServicer, asked: Asked
) -> None:
    names = [f"{n:06}" + "x" * 200 for n in range(6000)]
    first = asked.commit(dict.fromkeys(names, "1"))
    request = FindChangedPathsRequest(repository=asked.message, commits=[first])
    answers = await everything(servicer.FindChangedPaths(request, CALL))
    assert [path.path.decode() for answer in answers for path in answer.paths] == names
    assert len(answers) == 2
    assert all(answer.ByteSize() < (1 << 20) + 50000 for answer in answers)


async def test_no_question_has_no_answer(servicer: DiffServicer, asked: Asked) -> None:
    assert await ask(servicer, asked) == []


@pytest.mark.parametrize(
    ("more", "kind", "text"),
    [
        (
            {"commits": ["main"], "requests": [commit("main")]},
            InvalidRequest,
            "cannot specify both commits and requests",
        ),
        ({"commits": [""]}, InvalidRequest, "resolving commit: revision cannot be empty"),
        (
            {"commits": ["none"]},
            NotFound,
            'resolving commit: revision can not be found: "none"',
        ),
        (
            {"commits": ["main^{tree}"]},
            NotFound,
            'resolving commit: revision can not be found: "main^{tree}"',
        ),
        (
            {"requests": [commit("main", "none")]},
            NotFound,
            'resolving commit parent: revision can not be found: "none"',
        ),
        (
            {"requests": [trees("none", "main")]},
            NotFound,
            'resolving left tree: revision can not be found: "none"',
        ),
        (
            {"requests": [trees("main", "")]},
            InvalidRequest,
            "resolving right tree: revision cannot be empty",
        ),
        ({"requests": [{}]}, Internal, "unknown FindChangedPathsRequest type"),
        (
            {"commits": ["main"], "diff_filters": [0]},
            InvalidRequest,
            "invalid diff filter requested",
        ),
        (
            {"commits": ["a\nmain"]},
            NotFound,
            'resolving commit: revision can not be found: "a\\nmain"',
        ),
        (
            {"commits": ["--upload-pack=x"]},
            NotFound,
            'resolving commit: revision can not be found: "--upload-pack=x"',
        ),
        (
            {"commits": ["main\0"]},
            InvalidRequest,
            "resolving commit: revision must not contain NUL bytes",
        ),
    ],
)
async def test_what_cannot_be_resolved_is_refused(
    servicer: DiffServicer,
    asked: Asked,
    more: dict[str, Any],
    kind: type[NodeError],
    text: str,
) -> None:
    asked.head({"a": "1"})
    with pytest.raises(kind) as caught:
        await ask(servicer, asked, **more)
    assert caught.value.message == text
