"""The calls of DiffService that say little more than git does."""

from typing import Any

import pytest

from gitaly._pb.diff_pb2 import (
    CommitDelta,
    CommitDeltaRequest,
    DiffStats,
    DiffStatsRequest,
    GetPatchIDRequest,
    RawDiffRequest,
    RawPatchRequest,
)
from gitaly.errors import FailedPrecondition, Internal, InvalidRequest, NodeError
from gitaly.services.diff import DiffServicer
from tests.git.diffs.support import git_output
from tests.services.diff.support import CALL, Asked, everything

DASH = "positional arg \"-x\" cannot start with dash '-': invalid argument"


def two(asked: Asked, left: str, right: str) -> dict[str, Any]:
    return {"repository": asked.message, "left_commit_id": left, "right_commit_id": right}


@pytest.mark.parametrize("asked", ["sha1", "sha256"], indirect=True)
async def test_deltas_are_files_without_patches(servicer: DiffServicer, asked: Asked) -> None:
    left = asked.commit({"a": "1\n", "b": "".join(map(str, range(99))), "t": "file"})
    right = asked.commit({"a": "2\n", "c": "".join(map(str, range(99))), "t": ("120000", "a")})
    request = CommitDeltaRequest(**two(asked, left, right))
    [answer] = await everything(servicer.CommitDelta(request, CALL))
    ids = {x: asked.id(x) for x in (f"{left}:a", f"{right}:a", f"{left}:b", f"{left}:t")}
    assert list(answer.deltas) == [
        CommitDelta(
            from_path=b"a",
            to_path=b"a",
            from_id=ids[f"{left}:a"],
            to_id=ids[f"{right}:a"],
            old_mode=0o100644,
            new_mode=0o100644,
        ),
        CommitDelta(
            from_path=b"b",
            to_path=b"c",
            from_id=ids[f"{left}:b"],
            to_id=ids[f"{left}:b"],
            old_mode=0o100644,
            new_mode=0o100644,
        ),
        CommitDelta(
            from_path=b"t",
            to_path=b"t",
            from_id=ids[f"{left}:t"],
            to_id=asked.null,
            old_mode=0o100644,
        ),
        CommitDelta(
            from_path=b"t",
            to_path=b"t",
            from_id=asked.null,
            to_id=asked.id(f"{right}:t"),
            new_mode=0o120000,
        ),
    ]


async def test_deltas_come_in_small_messages_and_odd_names_whole(
    servicer: DiffServicer, asked: Asked
) -> None:
    names = [f'{n:03}\t\n"ü' for n in range(100)]
    left, right = asked.commit({"x": ""}), asked.commit({"x": "", **dict.fromkeys(names, "1")})
    request = CommitDeltaRequest(**two(asked, left, right))
    answers = await everything(servicer.CommitDelta(request, CALL))
    assert [x.to_path for answer in answers for x in answer.deltas] == [x.encode() for x in names]
    assert [len(answer.deltas) for answer in answers] == [50, 50]
    request = CommitDeltaRequest(**two(asked, left, right), paths=[b"00*"])
    [answer] = await everything(servicer.CommitDelta(request, CALL))
    assert len(answer.deltas) == 10


async def test_stats_are_counts_of_lines(servicer: DiffServicer, asked: Asked) -> None:
    asked.head({".gitattributes": "*.gen -diff\n"})
    many = "".join(f"{n}\n" for n in range(50))
    left = asked.commit({"a": "1\n2\n", "old": many, "bin": "a\0b", "x.gen": "1\n", "m": ""})
    right = asked.commit(
        {
            "a": "1\n3\n4\n",
            "new\t": many + "end\n",
            "bin": "a\0c",
            "x.gen": "2\n",
            "m": ("100755", ""),
        }
    )
    request = DiffStatsRequest(**two(asked, left, right))
    [answer] = await everything(servicer.DiffStats(request, CALL))
    assert list(answer.stats) == [
        DiffStats(path=b"a", additions=2, deletions=1),
        DiffStats(path=b"bin"),
        DiffStats(path=b"m"),
        DiffStats(path=b"new\t", old_path=b"old", additions=1),
        DiffStats(path=b"x.gen"),
    ]


async def test_stats_come_in_messages_of_a_thousand(servicer: DiffServicer, asked: Asked) -> None:
    left = asked.commit({"x": ""})
    right = asked.commit({f"f{n:04}": "1\n" for n in range(2001)} | {"x": ""})
    request = DiffStatsRequest(**two(asked, left, right))
    answers = await everything(servicer.DiffStats(request, CALL))
    assert [len(answer.stats) for answer in answers] == [1000, 1000, 1]


@pytest.mark.parametrize(
    ("method", "request_class"),
    [
        ("CommitDelta", CommitDeltaRequest),
        ("DiffStats", DiffStatsRequest),
        ("RawDiff", RawDiffRequest),
        ("RawPatch", RawPatchRequest),
    ],
)
async def test_nothing_has_changed(
    servicer: DiffServicer, asked: Asked, method: str, request_class: Any
) -> None:
    commit = asked.head({"x": ""})
    request = request_class(**two(asked, commit, "main"))
    assert await everything(getattr(servicer, method)(request, CALL)) == []


async def test_a_raw_diff_is_gits_with_attributes(servicer: DiffServicer, asked: Asked) -> None:
    asked.head({".gitattributes": "*.gen -diff\n"})
    left = asked.commit({"a": "1\n" * 99999, "x.gen": "1\n"})
    right = asked.commit({"a": "2\n" * 99999, "x.gen": "2\n"})
    request = RawDiffRequest(**two(asked, left, right))
    pieces = [x.data for x in await everything(servicer.RawDiff(request, CALL))]
    plain = git_output(asked.bare, "diff", "--full-index", left, right, "--", "a")
    assert b"".join(pieces).startswith(plain)
    assert b"".join(pieces).endswith(b"Binary files a/x.gen and b/x.gen differ\n")
    assert max(map(len, pieces)) <= 128 * 1024


async def test_raw_patches_are_mails_also_for_commits_that_change_nothing(
    servicer: DiffServicer, asked: Asked
) -> None:
    first = asked.commit({"a": "1\n"})
    second = asked.child({"a": "2\n"}, first, subject="change it")
    third = asked.child({"a": "2\n"}, second, subject="change nothing")
    merge = asked.child({"a": "2\n"}, third, first, subject="merge")
    request = RawPatchRequest(**two(asked, first, merge))
    mails = b"".join(x.data for x in await everything(servicer.RawPatch(request, CALL)))
    assert mails.count(b"\n-- \nGitLab\n\n") == 2
    assert b"Subject: [PATCH 1/2] change it\n" in mails
    assert b"Subject: [PATCH 2/2] change nothing\n" in mails
    assert b"-1\n+2\n" in mails


async def test_a_patch_id_does_not_depend_on_where_the_change_is(
    servicer: DiffServicer, asked: Asked
) -> None:
    first, second = asked.commit({"a": "x\n1\n"}), asked.commit({"a": "x\n2\n"})
    third, fourth = asked.commit({"a": "y\nx\n1\n"}), asked.commit({"a": "y\nx\n2\n"})

    async def patch_id(old: str, new: str, context_free: bool) -> str:
        request = GetPatchIDRequest(
            repository=asked.message,
            old_revision=old.encode(),
            new_revision=new.encode(),
            context_free=context_free,
        )
        return (await servicer.GetPatchID(request, CALL)).patch_id

    assert await patch_id(first, second, True) == await patch_id(third, fourth, True)
    assert await patch_id(first, second, False) != await patch_id(third, fourth, False)
    assert len(await patch_id(f"{first}:a", f"{second}:a", False)) == len(asked.null)


@pytest.mark.parametrize(
    ("old", "new", "kind", "text"),
    [
        (b"", b"x", InvalidRequest, "empty OldRevision"),
        (b"x", b"", InvalidRequest, "empty NewRevision"),
        (b"x\0", b"x", InvalidRequest, "revision can't contain NUL"),
        (b"-x", b"x", Internal, f"spawning diff: {DASH}"),
        (b"none", b"HEAD", Internal, "waiting for git-diff: exit status 128"),
        (b"\xff", b"HEAD", Internal, "waiting for git-diff: exit status 128"),
        (b"HEAD", b"HEAD", FailedPrecondition, "no difference between old and new revision"),
    ],
)
async def test_a_patch_id_needs_two_revisions_that_differ(
    servicer: DiffServicer, asked: Asked, old: bytes, new: bytes, kind: type[NodeError], text: str
) -> None:
    asked.head({"a": "x"})
    request = GetPatchIDRequest(repository=asked.message, old_revision=old, new_revision=new)
    with pytest.raises(kind) as caught:
        await servicer.GetPatchID(request, CALL)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("method", "request_class", "kind", "words"),
    [
        ("CommitDelta", CommitDeltaRequest, FailedPrecondition, ""),
        ("DiffStats", DiffStatsRequest, FailedPrecondition, ""),
        ("RawDiff", RawDiffRequest, Internal, "cmd: "),
        ("RawPatch", RawPatchRequest, Internal, "cmd: "),
    ],
)
async def test_revisions_are_checked_and_git_tells_what_is_missing(
    servicer: DiffServicer,
    asked: Asked,
    method: str,
    request_class: Any,
    kind: type[NodeError],
    words: str,
) -> None:
    asked.head({"a": "x"})

    async def refusal(left: str, right: str) -> NodeError:
        request = request_class(**two(asked, left, right))
        with pytest.raises(NodeError) as caught:
            await everything(getattr(servicer, method)(request, CALL))
        return caught.value

    failed = await refusal("none", "main")
    assert (type(failed), failed.message) == (kind, f"{words}exit status 128")
    assert (await refusal("", "x")).message == "empty LeftCommitId"
    assert (await refusal("x", "")).message == "empty RightCommitId"
    assert isinstance(await refusal("x\0", "x"), InvalidRequest)
    dash = await refusal("-x", "main")
    assert (type(dash), dash.message.startswith("cmd: positional arg")) == (Internal, True)
