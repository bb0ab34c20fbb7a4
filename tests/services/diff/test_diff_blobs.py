import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.diff_pb2 import ChangedPaths, DiffBlobsRequest, DiffBlobsResponse
from gitaly.errors import Internal, InvalidRequest
from gitaly.services.diff import DiffServicer
from tests.services.diff.support import CALL, Asked, everything

END = DiffBlobsResponse.STATUS_END_OF_PATCH
WORD = DiffBlobsRequest.DIFF_MODE_WORD
IGNORE_ALL = DiffBlobsRequest.WHITESPACE_CHANGES_IGNORE_ALL
FILE = 0o100644
A, C, D, M, R, T = (
    ChangedPaths.ADDED,
    ChangedPaths.COPIED,
    ChangedPaths.DELETED,
    ChangedPaths.MODIFIED,
    ChangedPaths.RENAMED,
    ChangedPaths.TYPE_CHANGE,
)


def pair(left: str, right: str) -> dict[str, bytes]:
    return {"left_blob": left.encode(), "right_blob": right.encode()}


def info(status: int, left: str, right: str, path: bytes = b"f", **more: Any) -> dict[str, Any]:
    """What FindChangedPaths says."""
    modes = {
        "old_mode": 0 if status == A else FILE,
        "new_mode": 0 if status == D else FILE,
    }
    fields = {"status": status, "old_blob_id": left, "new_blob_id": right, "path": path}
    return fields | modes | more


def stored(asked: Asked) -> list[str]:
    """Everything below the object directory."""
    objects = Path(asked.bare.path, "objects")
    return sorted(str(path.relative_to(objects)) for path in objects.rglob("*"))


def temporary(asked: Asked) -> list[Path]:
    return list(Path(asked.bare.path).parent.joinpath("+gitaly", "tmp").iterdir())


def patches_of_diff_pairs(asked: Asked, entries: list[dict[str, Any]]) -> list[bytes]:
    """What git itself makes of additions, changes and deletions that all differ."""
    stream = b"".join(
        f":{x['old_mode']:06o} {x['new_mode']:06o} {x['old_blob_id']} {x['new_blob_id']} "
        f"{'AMD'[x['status']]}".encode()
        + b"\0%b\0" % x["path"]
        for x in entries
    )
    output = subprocess.run(
        [os.environ["GIT_NEWEST"], "--git-dir", asked.bare.path, "diff-pairs", "-z"],
        input=stream,
        check=True,
        capture_output=True,
    ).stdout
    sections = [part.rstrip(b"\n") + b"\n" for part in (b"\n" + output).split(b"\ndiff --git ")[1:]]
    starts = [max(x.find(b"\n@@"), x.find(b"\nBinary files")) + 1 or len(x) for x in sections]
    return [section[start:] for section, start in zip(sections, starts, strict=True)]


async def ask(servicer: DiffServicer, asked: Asked, **more: Any) -> list[DiffBlobsResponse]:
    request = DiffBlobsRequest(repository=asked.message, **more)
    return await everything(servicer.DiffBlobs(request, CALL))


@pytest.mark.parametrize("asked", ["sha1", "sha256"], indirect=True)
async def test_pairs_are_answered_in_order_and_completely(
    servicer: DiffServicer, asked: Asked
) -> None:
    one, two = asked.blob("1\nx\n"), asked.blob("2\nx\n")
    binary, empty = asked.blob("a\0"), asked.blob("")
    found = await ask(
        servicer,
        asked,
        blob_pairs=[
            *(pair(one, two), pair(asked.null, two), pair(one, asked.null)),
            *(pair(one, binary), pair(asked.null, empty), pair(empty, asked.null)),
        ],
    )
    expected: list[dict[str, Any]] = [
        {"patch": b"@@ -1,2 +1,2 @@\n-1\n+2\n x\n", "lines_added": 1, "lines_removed": 1},
        {"patch": b"@@ -0,0 +1,2 @@\n+2\n+x\n", "lines_added": 2},
        {"patch": b"@@ -1,2 +0,0 @@\n-1\n-x\n", "lines_removed": 2},
        {"patch": f"Binary files a/{one} and b/{binary} differ\n".encode(), "binary": True},
        {},
        {},
    ]
    ids = [
        *((one, two), (asked.null, two), (one, asked.null)),
        *((one, binary), (asked.null, empty), (empty, asked.null)),
    ]
    assert found == [
        DiffBlobsResponse(
            left_blob_id=left,
            right_blob_id=right,
            patch_size=len(more.get("patch", b"")),
            status=END,
            **more,
        )
        for (left, right), more in zip(ids, expected, strict=True)
    ]


async def test_an_empty_blob_need_not_be_stored(servicer: DiffServicer, asked: Asked) -> None:
    one = asked.blob("1\n")
    [found] = await ask(servicer, asked, blob_pairs=[pair(asked.null, one)])
    assert found.patch == b"@@ -0,0 +1 @@\n+1\n"
    assert [name for name in stored(asked) if name.startswith("e6")] == []


async def test_paths_bring_attributes_and_ids_do_not(servicer: DiffServicer, asked: Asked) -> None:
    asked.head({".gitattributes": "*.gen -diff\n", "a.gen": "1\n", "b.gen": "2\n"})
    [by_path, by_id] = await ask(
        servicer,
        asked,
        blob_pairs=[
            pair("main:a.gen", "main:b.gen"),
            pair(asked.blob("1\n"), asked.blob("2\n")),
        ],
    )
    assert (by_path.binary, by_id.binary) == (True, False)
    assert by_path.patch == b"Binary files a/a.gen and b/b.gen differ\n"
    assert by_path.left_blob_id == by_id.left_blob_id


async def test_the_limit_of_pairs_is_reached_at_its_number(
    servicer: DiffServicer, asked: Asked
) -> None:
    pairs = [pair(asked.blob("1\n"), asked.blob("2\n"))]  # a patch of 18 bytes
    for limit, is_over in ((17, True), (18, True), (19, False), (0, False), (-1, False)):
        [found] = await ask(servicer, asked, blob_pairs=pairs, patch_bytes_limit=limit)
        assert (found.over_patch_bytes_limit, found.patch == b"") == (is_over, is_over)
        assert (found.patch_size, found.lines_added, found.status) == (18, 1, END)


async def test_the_limit_of_raw_info_is_passed_beyond_its_number(
    servicer: DiffServicer, asked: Asked
) -> None:
    raw_info = [info(M, asked.blob("1\n"), asked.blob("2\n"))]
    for limit, is_over in ((17, True), (18, False), (0, False), (-1, True)):
        [found] = await ask(servicer, asked, raw_info=raw_info, patch_bytes_limit=limit)
        assert (found.over_patch_bytes_limit, found.patch == b"") == (is_over, is_over)
        assert (found.patch_size, found.lines_added, found.status) == (18, 1, END)


async def test_long_patches_come_in_pieces(servicer: DiffServicer, asked: Asked) -> None:
    long = asked.blob("0123456789\n" * 1000)
    for more in (
        {"blob_pairs": [pair(asked.null, long)]},
        {"raw_info": [info(A, asked.null, long)]},
    ):
        first, *middle, last = await ask(servicer, asked, **more)
        assert (len(first.patch), first.patch_size, first.status) == (5120, 12019, 0)
        assert middle == [DiffBlobsResponse(patch=middle[0].patch)]
        assert last == DiffBlobsResponse(patch=last.patch, status=END)


async def test_words_may_be_compared(servicer: DiffServicer, asked: Asked) -> None:
    left, right = asked.blob("one two\n"), asked.blob("one 2\n")
    for more in ({"blob_pairs": [pair(left, right)]}, {"raw_info": [info(M, left, right)]}):
        [found] = await ask(servicer, asked, diff_mode=WORD, **more)
        assert found.patch == b"@@ -1 +1 @@\n one \n-two\n+2\n~\n"


async def test_raw_info_is_answered_in_order_also_where_nothing_differs(
    servicer: DiffServicer, asked: Asked
) -> None:
    one, two, space, null = asked.blob("1\n"), asked.blob("2\n"), asked.blob("1 \n"), asked.null
    found = await ask(
        servicer,
        asked,
        whitespace_changes=IGNORE_ALL,
        raw_info=[
            info(M, one, one),
            info(M, one, space),
            info(R, one, two, b"new", old_path=b"old"),
            info(C, one, one, b"new", old_path=b"old"),
            info(A, null, two, b"z"),
            info(T, one, two, b"t", new_mode=0o120000),
            info(D, two, null, b"a"),
            info(M, one, one, new_mode=0o100755),
        ],
    )
    assert [(x.left_blob_id, x.right_blob_id, x.patch) for x in found] == [
        (one, one, b""),
        (one, space, b""),
        (one, two, b"@@ -1 +1 @@\n-1\n+2\n"),
        (one, one, b""),
        (null, two, b"@@ -0,0 +1 @@\n+2\n"),
        (one, null, b"@@ -1 +0,0 @@\n-1\n"),
        (null, two, b"@@ -0,0 +1 @@\n+2\n"),
        (two, null, b"@@ -1 +0,0 @@\n-2\n"),
        (one, one, b""),
    ]
    assert all(x.status == END for x in found)


async def test_binary_files_are_named_as_the_request_names_them(
    servicer: DiffServicer, asked: Asked
) -> None:
    one, two, null = asked.blob("\0" + "1"), asked.blob("\0" + "2"), asked.null
    found = await ask(
        servicer,
        asked,
        raw_info=[
            info(M, one, two, b"d/m"),
            info(A, null, two, b"tab\t"),
            info(D, one, null, "ü".encode()),
            info(R, one, two, b"new name", old_path=b"old"),
        ],
    )
    assert [x.patch for x in found] == [
        b"Binary files a/d/m and b/d/m differ\n",
        b'Binary files /dev/null and "b/tab\\t" differ\n',
        b'Binary files "a/\\303\\274" and /dev/null differ\n',
        b"Binary files a/old and b/new name differ\n",
    ]
    assert all(x.binary and x.patch_size == len(x.patch) for x in found)
    [over] = await ask(
        servicer, asked, raw_info=[info(M, one, two, b"x" * 99)], patch_bytes_limit=60
    )
    assert (over.over_patch_bytes_limit, over.patch, over.patch_size) == (True, b"", 228)


async def test_attributes_do_not_count_for_raw_info(servicer: DiffServicer, asked: Asked) -> None:
    asked.head({".gitattributes": "* -diff\n"})
    [found] = await ask(
        servicer, asked, raw_info=[info(M, asked.blob("1\n"), asked.blob("2\n"), b"a")]
    )
    assert not found.binary


async def test_submodules_are_told_by_their_commits(servicer: DiffServicer, asked: Asked) -> None:
    modes: dict[str, Any] = {"old_mode": 0o160000, "new_mode": 0o160000}
    [found] = await ask(servicer, asked, raw_info=[info(M, "1" * 40, "2" * 40, **modes)])
    assert found.patch == (
        f"@@ -1 +1 @@\n-Subproject commit {'1' * 40}\n+Subproject commit {'2' * 40}\n".encode()
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"old_blob_id": "abc"},
        {"new_blob_id": "x" * 40},
        {"old_mode": 0o40000},
        {"new_mode": -1},
        {"path": b"a\0b"},
        {"status": 9},
        {"old_path": b"other"},
    ],
)
async def test_raw_info_that_git_would_not_read_is_answered_and_refused(
    servicer: DiffServicer, asked: Asked, bad: dict[str, Any]
) -> None:
    good = info(M, asked.blob("1\n"), asked.blob("2\n"))
    request = DiffBlobsRequest(repository=asked.message, raw_info=[good, good | bad])
    answers = []
    with pytest.raises(Internal) as caught:
        async for answer in servicer.DiffBlobs(request, CALL):
            answers.append(answer)  # noqa: PERF401 - what came before the error counts
    assert caught.value.message == "waiting for git-diff-pairs: exit status 128"
    assert [answer.patch for answer in answers] == [b"", b""]


async def test_a_blob_that_is_missing_ends_the_answers(
    servicer: DiffServicer, asked: Asked
) -> None:
    one, two = asked.blob("1\n"), asked.blob("2\n")
    request = DiffBlobsRequest(
        repository=asked.message,
        raw_info=[info(M, one, two), info(M, one, "9" * 40), info(M, two, one)],
    )
    answers = []
    with pytest.raises(Internal) as caught:
        async for answer in servicer.DiffBlobs(request, CALL):
            answers.append(answer)  # noqa: PERF401 - what came before the error counts
    assert caught.value.message == "waiting for git-diff-pairs: exit status 128"
    assert [bool(answer.patch) for answer in answers] == [True, False, False]


ONE = "d00491fd7e5bb6fa28c517a0bb32b8b506539d4d"  # "1\n"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "request contains no file pairs to diff"),
        (
            {"blob_pairs": [pair(ONE, ONE)], "raw_info": [info(M, ONE, ONE)]},
            "blob pairs and raw info both used in request",
        ),
        ({"raw_info": [info(M, "", ONE)]}, "raw info entry missing blob IDs"),
        ({"raw_info": [info(M, ONE, ONE, b"")]}, "raw info entry missing path"),
        ({"raw_info": [info(R, ONE, ONE)]}, "rename/copy raw info entry missing old path"),
        (
            {"blob_pairs": [pair(ONE, ONE)], "whitespace_changes": 1},
            "whitespace changes cannot be ignored when blob pairs are provided",
        ),
        (
            {"blob_pairs": [pair("0" * 40, "0" * 40)]},
            "left and right blob revisions resolve to same OID",
        ),
        (
            {"blob_pairs": [pair("main:a", ONE)]},
            "left and right blob revisions resolve to same OID",
        ),
        (
            {"blob_pairs": [pair("main", ONE)]},
            'getting left blob info: validating blob ID: invalid object ID: "main",'
            " expected length 40, got 4",
        ),
        (
            {"blob_pairs": [pair(ONE, "--output=/tmp/x:y")]},
            "getting right blob info: validating path-scoped revision:"
            " revision can't start with '-'",
        ),
        (
            {"blob_pairs": [pair("main:none", ONE)]},
            "getting left blob info: getting revision info: object not found",
        ),
        (
            {"blob_pairs": [pair("9" * 40, ONE)]},
            "getting left blob info: getting revision info: object not found",
        ),
        ({"blob_pairs": [pair("main:", ONE)]}, "getting left blob info: revision is not blob"),
    ],
)
async def test_pairs_that_cannot_be_compared_are_refused(
    servicer: DiffServicer, asked: Asked, more: dict[str, Any], text: str
) -> None:
    asked.head({"a": "1\n"})
    with pytest.raises(InvalidRequest) as caught:
        await ask(servicer, asked, **more)
    assert caught.value.message == text


async def test_nothing_is_left_in_the_storage(servicer: DiffServicer, asked: Asked) -> None:
    one = asked.blob("1\n")
    objects = stored(asked)
    await ask(servicer, asked, blob_pairs=[pair(asked.null, one)])
    await ask(servicer, asked, raw_info=[info(A, asked.null, one)])
    assert stored(asked) == objects
    assert temporary(asked) == []


@pytest.mark.skipif(
    "GIT_NEWEST" not in os.environ, reason="GIT_NEWEST names no git with diff-pairs"
)
async def test_patches_are_those_of_diff_pairs(servicer: DiffServicer, asked: Asked) -> None:
    blobs = [asked.blob(text) for text in ("1\n2\n", "1\n3\n", "\0", "", "1 \n2\n")]
    entries = [
        info(M, left, right, f"{number}".encode())
        for number, (left, right) in enumerate((x, y) for x in blobs for y in blobs if x != y)
    ]
    entries += [info(A, asked.null, blob, b"a\t") for blob in blobs]
    entries += [info(D, blob, asked.null, b"d") for blob in blobs]
    found = await ask(servicer, asked, raw_info=entries)
    assert [answer.patch for answer in found] == patches_of_diff_pairs(asked, entries)
