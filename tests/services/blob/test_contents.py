"""GetBlob and GetBlobs."""

from contextlib import aclosing
from typing import Any

import pytest

from gitaly._pb.blob_pb2 import GetBlobRequest, GetBlobResponse, GetBlobsRequest, GetBlobsResponse
from gitaly._pb.shared_pb2 import BLOB, COMMIT, TREE
from gitaly.errors import Internal, InvalidRequest, NodeError
from gitaly.services.blob import BlobServicer
from tests.git.support import Bare
from tests.services.readers import a_call, all_of, decoded
from tests.storage.support import message, put

BOTH_FORMATS = pytest.mark.parametrize("bare", ["sha1", "sha256"], indirect=True)
LARGE = "0123456789abcdef" * (3 << 16)  # 3 MiB


async def one(blobs: BlobServicer, oid: str, limit: int = -1) -> list[GetBlobResponse]:
    request = GetBlobRequest(repository=message(), oid=oid, limit=limit)
    return await all_of(blobs.GetBlob(request, a_call()))


def blob(bare: Bare, text: str) -> str:
    return bare.git("hash-object", "-w", "--stdin", data=text)


@BOTH_FORMATS
async def test_a_blob_is_told_with_its_size_and_as_much_as_wanted(
    blobs: BlobServicer, bare: Bare
) -> None:
    oid = blob(bare, "hello\n")
    for limit, data in (
        (-1, b"hello\n"),
        (0, b""),
        (2, b"he"),
        (6, b"hello\n"),
        (2**63 - 1, b"hello\n"),
    ):
        assert await one(blobs, oid, limit) == [GetBlobResponse(size=6, oid=oid, data=data)]
    empty = blob(bare, "")
    assert await one(blobs, empty) == [GetBlobResponse(oid=empty)]


async def test_a_large_blob_comes_in_pieces(blobs: BlobServicer, bare: Bare) -> None:
    oid = blob(bare, LARGE)
    for limit in (-1, 2_000_000):
        answers = await one(blobs, oid, limit)
        assert (answers[0].size, answers[0].oid) == (3 << 20, oid)
        assert [answer.oid for answer in answers[1:]] == [""] * (len(answers) - 1)
        assert all(0 < len(answer.data) <= 131072 for answer in answers)
        whole = LARGE.encode()
        assert b"".join(x.data for x in answers) == (whole if limit < 0 else whole[:limit])


async def test_a_reader_that_goes_leaves_nothing_behind(blobs: BlobServicer, bare: Bare) -> None:
    oid = blob(bare, LARGE)
    request = GetBlobRequest(repository=message(), oid=oid, limit=-1)
    for _ in range(5):
        async with aclosing(blobs.GetBlob(request, a_call())) as answers:  # type: ignore[type-var]
            await anext(answers)
    assert len(b"".join(answer.data for answer in await one(blobs, oid))) == len(LARGE)


@pytest.mark.parametrize(
    "oid", ["1" * 40, "main", "main:dir", "-x", "--batch", "none", "a b", "main:none", "a\nb"]
)
async def test_what_is_no_blob_gets_one_empty_message(
    blobs: BlobServicer, bare: Bare, oid: str
) -> None:
    _filled(bare)
    assert await one(blobs, oid) == [GetBlobResponse()]


async def test_any_revision_may_name_a_blob(blobs: BlobServicer, bare: Bare) -> None:
    _filled(bare)
    (answer,) = await one(blobs, "main:dir/a")
    assert answer == GetBlobResponse(oid=blob(bare, "a"), size=1, data=b"a")


async def test_a_blob_needs_a_name(blobs: BlobServicer, bare: Bare) -> None:
    with pytest.raises(InvalidRequest, match="empty Oid"):
        await one(blobs, "")
    with pytest.raises(InvalidRequest, match="revision must not contain NUL bytes"):
        await one(blobs, "a\0b")


async def test_a_blob_of_the_quarantine_is_found_by_who_names_it(
    blobs: BlobServicer, bare: Bare
) -> None:
    put(f"{bare.path}/objects/incoming/keep")
    env = {"GIT_OBJECT_DIRECTORY": f"{bare.path}/objects/incoming"}
    oid = bare.git("hash-object", "-w", "--stdin", data="new", env=env)
    assert await one(blobs, oid) == [GetBlobResponse()]
    repository = message(
        git_object_directory="objects/incoming", git_alternate_object_directories=["objects"]
    )
    request = GetBlobRequest(repository=repository, oid=oid, limit=-1)
    (answer,) = await all_of(blobs.GetBlob(request, a_call()))
    assert answer.data == b"new"


def _filled(bare: Bare) -> None:
    """A commit with all kinds of entries."""
    text, other = blob(bare, "hello\n"), blob(bare, "a")
    inner = bare.git(
        "mktree", data=f"100644 blob {other}\ta\n100644 blob {blob(bare, '')}\tempty\n"
    )
    tree = bare.git(
        "mktree",
        "--missing",
        data=f"100644 blob {text}\tREADME\n040000 tree {inner}\tdir\n120000 blob {other}\tlink\n"
        f"100755 blob {text}\trun\n160000 commit {'2' * len(text)}\tsub\n"
        f"100644 blob {'3' * len(text)}\twanting\n",
    )
    bare.git("update-ref", "refs/heads/main", bare.git("commit-tree", "-m", "x", tree))


async def many(
    blobs: BlobServicer, *pairs: tuple[str, bytes], limit: int = -1
) -> list[GetBlobsResponse]:
    wanted = [GetBlobsRequest.RevisionPath(revision=x, path=y) for x, y in pairs]
    request = GetBlobsRequest(repository=message(), revision_paths=wanted, limit=limit)
    return await decoded(GetBlobsResponse, blobs.GetBlobs(request, a_call()))


@BOTH_FORMATS
async def test_entries_are_told_in_the_order_of_the_request(
    blobs: BlobServicer, bare: Bare
) -> None:
    _filled(bare)
    text, other = blob(bare, "hello\n"), blob(bare, "a")
    tree = bare.git("rev-parse", "main:dir")
    size = int(bare.git("cat-file", "-s", tree))
    answers = await many(
        blobs,
        ("main", b"run"),
        ("main", b"dir/"),
        ("main", b"dir/a"),
        ("main", b"link"),
        ("main", b"sub"),
        ("main", b"dir/empty"),
        ("refs/heads/main", b"README"),
    )

    def said(path: bytes, revision: str = "main", **more: Any) -> GetBlobsResponse:
        return GetBlobsResponse(revision=revision, path=path, **more)

    assert answers == [
        said(b"run", oid=text, mode=0o100755, size=6, type=BLOB, data=b"hello\n"),
        said(b"dir", oid=tree, mode=0o40000, size=size, type=TREE),
        said(b"dir/a", oid=other, mode=0o100644, size=1, type=BLOB, data=b"a"),
        said(b"link", oid=other, mode=0o120000, size=1, type=BLOB, data=b"a"),
        said(b"sub", oid="2" * len(text), mode=0o160000, type=COMMIT, is_submodule=True),
        said(b"dir/empty", oid=blob(bare, ""), mode=0o100644, type=BLOB),
        said(
            b"README",
            "refs/heads/main",
            oid=text,
            mode=0o100644,
            size=6,
            type=BLOB,
            data=b"hello\n",
        ),
    ]
    (answer,) = await many(blobs, ("main", b"run"), limit=0)
    assert answer == said(b"run", oid=text, mode=0o100755, size=6, type=BLOB)
    (answer,) = await many(blobs, ("main", b"run"), limit=2)
    assert (answer.size, answer.data) == (6, b"he")


@pytest.mark.parametrize(
    "path",
    [b"", b"/", b"//", b"none", b"README/x", b"../x", b"./run", b"dir//a", b"/run", b"dir/..",
     b".", b"..", b"\xff", b"sub/x", b"a\nb", b"-x", b"dir/" * 1000 + b"a"],
)  # fmt: skip
async def test_paths_that_lead_nowhere_are_echoed(
    blobs: BlobServicer, bare: Bare, path: bytes
) -> None:
    _filled(bare)
    (answer,) = await many(blobs, ("main", path))
    echo = path.rstrip(b"/") if len(path) > 1 else path
    assert answer == GetBlobsResponse(revision="main", path=echo)


async def test_large_entries_come_in_pieces_of_their_own(blobs: BlobServicer, bare: Bare) -> None:
    tree = bare.git("mktree", data=f"100644 blob {blob(bare, LARGE)}\tlarge\n")
    bare.git("update-ref", "refs/heads/main", bare.git("commit-tree", "-m", "x", tree))
    answers = await many(blobs, ("main", b"large"), ("main", b"large"), ("none", b"large"))
    heads = [number for number, answer in enumerate(answers) if answer.revision]
    assert heads == [0, heads[1], len(answers) - 1]
    halves = answers[: heads[1]], answers[heads[1] : -1]
    assert [b"".join(x.data for x in half) for half in halves] == [LARGE.encode()] * 2
    assert not answers[-1].oid


async def test_very_many_entries_in_many_directories_are_told_in_order(
    blobs: BlobServicer, bare: Bare
) -> None:
    text, large = blob(bare, "small"), blob(bare, LARGE)
    leaf = bare.git("mktree", data=f"100644 blob {large}\tlarge\n100644 blob {text}\tsmall\n")
    middle = bare.git("mktree", data="".join(f"040000 tree {leaf}\t{n:02}\n" for n in range(40)))
    tree = bare.git("mktree", data=f"040000 tree {middle}\ta\n040000 tree {leaf}\tb\n")
    bare.git("update-ref", "refs/heads/main", bare.git("commit-tree", "-m", "x", tree))
    paths = [b"a", b"a/none", b"b/none/x", *(b"a/%02d/small" % n for n in range(40)), b"b/small"]
    paths += [b"a/07/large", b"a/none/x", b"a/07/small", b"a/07/small/x", b"a/" * 5000 + b"b"]
    answers = await many(blobs, *(("main", path) for path in paths), limit=4)
    assert [answer.path for answer in answers] == paths
    told = {answer.path: answer for answer in answers}
    assert all(told[path].data == b"smal" for path in paths if path.endswith(b"/small"))
    assert (told[b"a/07/large"].size, told[b"a/07/large"].data) == (len(LARGE), LARGE[:4].encode())
    nothing = [path for path in paths if not told[path].oid]
    assert nothing == [b"a/none", b"b/none/x", b"a/none/x", b"a/07/small/x", paths[-1]]


async def test_a_missing_object_is_an_error(blobs: BlobServicer, bare: Bare) -> None:
    _filled(bare)
    with pytest.raises(Internal) as caught:
        await many(blobs, ("main", b"wanting"))
    assert caught.value.message == "read object info: object not found"


@pytest.mark.parametrize(
    ("revision", "path", "text"),
    [
        ("", b"a", "empty revision"),
        ("-x", b"a", "revision can't start with '-'"),
        ("main:dir", b"a", "revision can't contain ':'"),
        ("a b", b"a", "revision can't contain whitespace"),
        ("a\0", b"a", "revision can't contain NUL"),
        ("none", b"a\0/b", "find by revision and path: revision must not contain NUL bytes"),
        ("main", b"a\0/b", "find by revision and path: revision must not contain NUL bytes"),
    ],
)
async def test_hostile_names_are_refused(
    blobs: BlobServicer, bare: Bare, revision: str, path: bytes, text: str
) -> None:
    _filled(bare)
    with pytest.raises(InvalidRequest) as caught:
        await many(blobs, (revision, path))
    assert caught.value.message == text


async def test_entries_need_names_and_a_repository(blobs: BlobServicer, bare: Bare) -> None:
    with pytest.raises(InvalidRequest, match="empty RevisionPaths"):
        await many(blobs)
    request = GetBlobRequest(repository=message("none.git"), oid="x")
    with pytest.raises(NodeError, match="repository not found"):
        await all_of(blobs.GetBlob(request, a_call()))
