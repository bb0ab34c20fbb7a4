from typing import Any

import pytest

from gitaly._pb.diff_pb2 import CommitDiffRequest, CommitDiffResponse
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NodeError
from gitaly.services.diff import DiffServicer
from tests.services.diff.support import CALL, Asked, commit_diff, everything
from tests.storage.support import message

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
IGNORE = CommitDiffRequest.WHITESPACE_CHANGES_IGNORE
IGNORE_ALL = CommitDiffRequest.WHITESPACE_CHANGES_IGNORE_ALL
LIMITS = {
    "enforce_limits": True,
    "max_files": 100,
    "max_lines": 100,
    "max_bytes": 1000,
    "max_patch_bytes": 1000,
}


def paths_of(responses: list[CommitDiffResponse]) -> list[bytes]:
    return [response.to_path for response in responses]


@pytest.mark.parametrize("asked", ["sha1", "sha256"], indirect=True)
async def test_a_changed_file_is_told_completely(servicer: DiffServicer, asked: Asked) -> None:
    left = asked.commit({"a": "one\ntwo\n"})
    right = asked.commit({"a": ("100755", "one\n2\nthree\n")})
    assert await commit_diff(servicer, asked, left, right) == [
        CommitDiffResponse(
            from_path=b"a",
            to_path=b"a",
            from_id=asked.id(f"{left}:a"),
            to_id=asked.id(f"{right}:a"),
            old_mode=0o100644,
            new_mode=0o100755,
            raw_patch_data=b"@@ -1,2 +1,3 @@\n one\n-two\n+2\n+three\n",
            end_of_patch=True,
            lines_added=2,
            lines_removed=1,
        )
    ]


async def test_a_rename_needs_thirty_percent_of_similarity(
    servicer: DiffServicer, asked: Asked
) -> None:
    same = "".join(f"line {n}\n" for n in range(4))
    left = asked.commit({"old": same + "".join(f"old {n}\n" for n in range(6))})
    right = asked.commit({"new": same + "".join(f"new {n}\n" for n in range(6))})
    [found] = await commit_diff(servicer, asked, left, right)
    assert (found.from_path, found.to_path) == (b"old", b"new")


async def test_identical_trees_give_no_message(servicer: DiffServicer, asked: Asked) -> None:
    commit = asked.commit({"a": "x"})
    assert await commit_diff(servicer, asked, commit, f"{commit}^{{tree}}") == []


async def test_the_empty_tree_is_the_left_side_of_a_first_commit(
    servicer: DiffServicer, asked: Asked
) -> None:
    right = asked.commit({"a": "x\n", "b": ""})
    assert paths_of(await commit_diff(servicer, asked, EMPTY_TREE, right)) == [b"a", b"b"]


async def test_a_branch_that_is_named_like_an_object_is_not_meant(
    servicer: DiffServicer, asked: Asked
) -> None:
    right, other = asked.commit({"a": "x\n"}), asked.commit({"b": "x\n"})
    tree = asked.id(f"{right}^{{tree}}")
    for name in (right, tree):
        asked.bare.git("update-ref", f"refs/heads/{name}", other)
        assert paths_of(await commit_diff(servicer, asked, EMPTY_TREE, name)) == [b"a"]


async def test_paths_are_pathspecs(servicer: DiffServicer, asked: Asked) -> None:
    right = asked.commit({"a.c": "x", "b.h": "x", "d/a.c": "x", "[ab]": "x", "-dash": "x"})
    for paths, found in (
        ([b"*.c"], [b"a.c", b"d/a.c"]),
        ([b"d"], [b"d/a.c"]),
        ([b":(literal)[ab]"], [b"[ab]"]),
        ([b"-dash"], [b"-dash"]),
        ([b"none"], []),
    ):
        responses = await commit_diff(servicer, asked, EMPTY_TREE, right, paths=paths)
        assert paths_of(responses) == found


async def test_long_patches_come_in_pieces_of_5120_bytes(
    servicer: DiffServicer, asked: Asked
) -> None:
    content = "".join(f"{n:07}\n" for n in range(1500))
    right = asked.commit({"a": content, "b": "x\n"})
    first, second, third, other = await commit_diff(servicer, asked, EMPTY_TREE, right)
    patch = b"".join(x.raw_patch_data for x in (first, second, third))
    assert patch.startswith(b"@@ -0,0 +1,1500 @@\n+0000000\n")
    assert len(patch) == len(b"@@ -0,0 +1,1500 @@\n") + 1500 * 9
    assert [len(x.raw_patch_data) for x in (first, second)] == [5120, 5120]
    assert (first.to_path, first.lines_added, first.end_of_patch) == (b"a", 1500, False)
    assert second == CommitDiffResponse(raw_patch_data=second.raw_patch_data)
    assert third == CommitDiffResponse(raw_patch_data=third.raw_patch_data, end_of_patch=True)
    assert (other.to_path, other.end_of_patch) == (b"b", True)


async def test_a_patch_of_many_mebibytes_comes_whole(servicer: DiffServicer, asked: Asked) -> None:
    content = "".join(f"{n:07}\n" for n in range(2_000_000))
    right = asked.commit({"a": content, "b": "x\n"})
    *pieces, other = await commit_diff(servicer, asked, EMPTY_TREE, right)
    patch = b"".join(piece.raw_patch_data for piece in pieces)
    assert (
        patch == b"@@ -0,0 +1,2000000 @@\n+" + content.encode()[:-1].replace(b"\n", b"\n+") + b"\n"
    )
    assert pieces[0].lines_added == 2_000_000
    assert [piece.end_of_patch for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert other.raw_patch_data == b"@@ -0,0 +1 @@\n+x\n"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["", "", ""]),
        ({**LIMITS, "max_files": 2}, ["", "", "overflow"]),
        ({**LIMITS, "max_files": 1, "collect_all_paths": True}, ["", "overflow", "overflow"]),
        ({**LIMITS, "max_patch_bytes": 20}, ["too large", "", ""]),
        (
            {**LIMITS, "max_patch_bytes_for_file_extension": {".txt": 1, "name": 1}},
            ["", "too large", "too large"],
        ),
        (
            {"collapse_diffs": True, "safe_max_files": 1, "safe_max_lines": 99},
            ["", *["collapsed"] * 2],
        ),
    ],
)
async def test_limits_are_the_requests(
    servicer: DiffServicer, asked: Asked, more: dict[str, Any], expected: list[str]
) -> None:
    right = asked.commit({"a": "1\n2\n3\n", "b.txt": "x\n", "name": "x\n"})
    if more.get("collapse_diffs"):
        more = {**more, "safe_max_bytes": 999}
    found = await commit_diff(servicer, asked, EMPTY_TREE, right, **more)
    assert [
        "overflow" if x.overflow_marker else
        "too large" if x.too_large else "collapsed" if x.collapsed else ""
        for x in found
    ] == expected  # fmt: skip
    assert all(
        bool(x.raw_patch_data) == (not state) for x, state in zip(found, expected, strict=True)
    )
    assert all(x.end_of_patch for x in found)


async def test_after_the_overflow_marker_nothing_follows(
    servicer: DiffServicer, asked: Asked
) -> None:
    right = asked.commit({f"f{n}": "x\n" for n in range(20)})
    found = await commit_diff(servicer, asked, EMPTY_TREE, right, **(LIMITS | {"max_files": 3}))
    assert paths_of(found) == [b"f0", b"f1", b"f10", b""]
    assert found[-1] == CommitDiffResponse(overflow_marker=True, end_of_patch=True)


@pytest.mark.parametrize("limit", [-(2**31), -1, 0, 2**31 - 1])
async def test_limits_of_any_size_are_no_error(
    servicer: DiffServicer, asked: Asked, limit: int
) -> None:
    right = asked.commit({"a": "x\n"})
    names = ("max_files", "max_lines", "max_bytes", "max_patch_bytes", "safe_max_files")
    more = dict.fromkeys(names, limit)
    [found] = await commit_diff(
        servicer, asked, EMPTY_TREE, right, enforce_limits=True, collapse_diffs=True, **more
    )
    assert found.overflow_marker is (limit <= 0)


@pytest.mark.parametrize("spaces", [IGNORE, IGNORE_ALL])
async def test_what_differs_in_space_only_comes_last_without_patch(
    servicer: DiffServicer, asked: Asked, spaces: int
) -> None:
    left = asked.commit(
        {"a": "x y\n1\n", "b": "x  y\n", "c*": "one \n", "m": "a b\n", "n": "x\n", ":colon": "a \n"}
    )
    right = asked.commit(
        {
            "a": "x  y\n1 \n",
            "b": "z\n",
            "c*": "one  \n",
            "m": ("100755", "a  b\n"),
            "n": "x\n",
            "z": " \n",
            ":colon": "a  \n",
        }
    )
    found = await commit_diff(servicer, asked, left, right, whitespace_changes=spaces)
    assert paths_of(found) == [b"b", b"m", b"z", b":colon", b"a", b"c*"]
    assert found[4] == CommitDiffResponse(
        from_path=b"a",
        to_path=b"a",
        from_id=asked.id(f"{left}:a"),
        to_id=asked.id(f"{right}:a"),
        old_mode=0o100644,
        new_mode=0o100644,
        end_of_patch=True,
        lines_added=2,
        lines_removed=2,
    )


async def test_all_space_is_more_than_changed_space(servicer: DiffServicer, asked: Asked) -> None:
    left, right = asked.commit({"a": "xy\n"}), asked.commit({"a": "x y\n"})
    [some] = await commit_diff(servicer, asked, left, right, whitespace_changes=IGNORE)
    [none] = await commit_diff(servicer, asked, left, right, whitespace_changes=IGNORE_ALL)
    assert some.raw_patch_data == b"@@ -1 +1 @@\n-xy\n+x y\n"
    assert (none.raw_patch_data, none.lines_added) == (b"", 1)


async def test_files_of_which_only_space_changed_do_not_count(
    servicer: DiffServicer, asked: Asked
) -> None:
    left = asked.commit({"a": "a b\n", "b": "1\n", "c": "1\n"})
    right = asked.commit({"a": "a  b\n", "b": "2\n", "c": "2\n"})
    found = await commit_diff(
        servicer, asked, left, right, whitespace_changes=IGNORE_ALL, **(LIMITS | {"max_files": 1})
    )
    assert [(x.to_path, x.overflow_marker) for x in found] == [
        *((b"b", False), (b"", True)),  # and then what has not been looked at
        *((b"a", False), (b"c", False)),
    ]


async def test_words_may_be_compared(servicer: DiffServicer, asked: Asked) -> None:
    left, right = asked.commit({"a": "one two\n"}), asked.commit({"a": "one 2\n"})
    [found] = await commit_diff(servicer, asked, left, right, diff_mode=CommitDiffRequest.WORDDIFF)
    assert found.raw_patch_data == b"@@ -1 +1 @@\n one \n-two\n+2\n~\n"


async def test_attributes_of_head_count_whatever_is_compared(
    servicer: DiffServicer, asked: Asked
) -> None:
    asked.head({".gitattributes": "*.gen -diff\n", "d/.gitattributes": "text diff\n*.x binary\n"})
    left = asked.commit({"a.gen": "1\n", "d/b.x": "1\n", "d/a.gen": "1\n", "e.x": "1\n"})
    right = asked.commit({"a.gen": "2\n", "d/b.x": "2\n", "d/a.gen": "2\n", "e.x": "2\n"})
    found = await commit_diff(servicer, asked, left, right)
    assert [(x.to_path, x.binary) for x in found] == [
        *((b"a.gen", True), (b"d/a.gen", True)),
        *((b"d/b.x", True), (b"e.x", False)),
    ]
    assert found[0].raw_patch_data == b"Binary files a/a.gen and b/a.gen differ\n"


@pytest.mark.parametrize(
    ("more", "kind", "text"),
    [
        ({"left_commit_id": ""}, InvalidRequest, "empty LeftCommitId"),
        ({"right_commit_id": ""}, InvalidRequest, "empty RightCommitId"),
        ({"left_commit_id": "a\0b"}, InvalidRequest, "revision can't contain NUL"),
        ({"paths": [b"a\0b"]}, InvalidRequest, "path can't contain NUL"),
        (
            {"left_commit_id": "--output=/tmp/x"},
            Internal,
            "eachDiff: cmd: positional arg \"--output=/tmp/x\" cannot start with dash '-':"
            " invalid argument",
        ),
        ({"left_commit_id": "none"}, FailedPrecondition, "eachDiff: exit status 128"),
        ({"left_commit_id": "0" * 40}, FailedPrecondition, "eachDiff: exit status 128"),
        ({"paths": [b":(nonsense)x"]}, FailedPrecondition, "eachDiff: exit status 128"),
        ({"repository": message("none.git")}, NodeError, "repository not found"),
    ],
)
async def test_what_cannot_be_compared_is_refused(
    servicer: DiffServicer,
    asked: Asked,
    more: dict[str, Any],
    kind: type[NodeError],
    text: str,
) -> None:
    asked.head({"a": "x"})
    fields: dict[str, Any] = {"repository": asked.message}
    fields |= {"left_commit_id": "main", "right_commit_id": "main"}
    with pytest.raises(kind) as caught:
        await everything(servicer.CommitDiff(CommitDiffRequest(**(fields | more)), CALL))
    assert caught.value.message == text
