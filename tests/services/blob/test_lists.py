"""ListBlobs, ListAllBlobs and the LFS pointers."""

from contextlib import aclosing
from typing import Any

import pytest

from gitaly._pb.blob_pb2 import (
    GetLFSPointersRequest,
    LFSPointer,
    ListAllBlobsRequest,
    ListAllLFSPointersRequest,
    ListBlobsRequest,
    ListBlobsResponse,
    ListLFSPointersRequest,
)
from gitaly.errors import Internal, InvalidRequest
from gitaly.services.blob import BlobServicer
from tests.git.support import Bare
from tests.services.readers import a_call, all_of
from tests.storage.support import message, put

BOTH_FORMATS = pytest.mark.parametrize("bare", ["sha1", "sha256"], indirect=True)
Blob = ListBlobsResponse.Blob
LARGE = "0123456789abcdef" * (3 << 16)  # 3 MiB
ID = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{ID}\nsize 1000\n"


def blob(bare: Bare, text: str) -> str:
    return bare.git("hash-object", "-w", "--stdin", data=text)


def commit(bare: Bare, files: dict[str, str], *parents: str) -> str:
    """A commit of these blobs, to which main points."""
    tree = bare.git("mktree", data="".join(f"100644 blob {x}\t{n}\n" for n, x in files.items()))
    flags = [word for parent in parents for word in ("-p", parent)]
    made = bare.git("commit-tree", "-m", "x", *flags, tree)
    bare.git("update-ref", "refs/heads/main", made)
    return made


async def listed(blobs: BlobServicer, *revisions: str, **more: Any) -> list[Blob]:
    request = ListBlobsRequest(repository=message(), revisions=revisions, **more)
    answers = await all_of(blobs.ListBlobs(request, a_call()))
    return [one for answer in answers for one in answer.blobs]


@BOTH_FORMATS
async def test_each_blob_of_a_walk_is_told_once(blobs: BlobServicer, bare: Bare) -> None:
    a, b, empty = blob(bare, "aaaa"), blob(bare, "bb"), blob(bare, "")
    first = commit(bare, {"a": a, "copy": a, "empty": empty})
    commit(bare, {"b b": b, "moved": a}, first)
    assert await listed(blobs, "main") == [
        Blob(oid=b, size=2),
        Blob(oid=a, size=4),
        Blob(oid=empty),
    ]
    assert await listed(blobs, "main", with_paths=True, bytes_limit=-1) == [
        Blob(oid=b, size=2, path=b"b b", data=b"bb"),
        Blob(oid=a, size=4, path=b"moved", data=b"aaaa"),
        Blob(oid=empty, path=b"empty"),
    ]
    assert await listed(blobs, "main", limit=2, bytes_limit=3) == [
        Blob(oid=b, size=2, data=b"bb"),
        Blob(oid=a, size=4, data=b"aaa"),
    ]
    assert await listed(blobs, "--all", "--not", first) == [Blob(oid=b, size=2)]
    assert await listed(blobs, "main:moved", with_paths=True) == [
        Blob(oid=a, size=4, path=b"moved")
    ]
    assert await listed(blobs, a, a, with_paths=True) == [Blob(oid=a, size=4)]


async def test_large_blobs_come_in_pieces_among_small_ones(blobs: BlobServicer, bare: Bare) -> None:
    large, small = blob(bare, LARGE), blob(bare, "small")
    commit(bare, {"a": large, "b": small})
    request = ListBlobsRequest(
        repository=message(), revisions=["main"], bytes_limit=-1, with_paths=True
    )
    answers = await all_of(blobs.ListBlobs(request, a_call()))
    assert all(answer.ByteSize() < (1 << 20) + 4096 for answer in answers)
    pieces = [one for answer in answers for one in answer.blobs]
    assert pieces[-1] == Blob(oid=small, size=5, data=b"small", path=b"b")
    assert (pieces[0].oid, pieces[0].size) == (large, 3 << 20)
    assert all((x.oid, x.size, x.path) == ("", 0, b"a") for x in pieces[1:-1])
    assert b"".join(x.data for x in pieces[:-1]) == LARGE.encode()
    (head, _) = await listed(blobs, "main", bytes_limit=7)
    assert (head.size, head.data) == (3 << 20, b"0123456")


async def test_a_reader_that_goes_stops_the_walk(blobs: BlobServicer, bare: Bare) -> None:
    commit(bare, {f"f{n}": blob(bare, f"{n}" + LARGE) for n in range(3)})
    request = ListBlobsRequest(repository=message(), revisions=["main"], bytes_limit=-1)
    async with aclosing(blobs.ListBlobs(request, a_call())) as answers:  # type: ignore[type-var]
        await anext(answers)


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        ("", "empty revision"),
        ("--filter=tree:0", "revision can't start with '-'"),
        ("a b", "revision can't contain whitespace"),
        ("a\0", "revision can't contain NUL"),
        ("--glob=a\nb", "revision can't contain whitespace"),
    ],
)
async def test_walks_begin_at_revisions(
    blobs: BlobServicer, bare: Bare, revision: str, text: str
) -> None:
    for asked in (listed, pointers):
        with pytest.raises(InvalidRequest) as caught:
            await asked(blobs, "main", revision)
        assert caught.value.message == f"invalid revision: {text}"
        with pytest.raises(InvalidRequest, match="missing revisions"):
            await asked(blobs)


async def test_walks_from_the_unknown_fail_in_gits_words(blobs: BlobServicer, bare: Bare) -> None:
    text = "rev-list pipeline command: exit status 128, stderr: \"fatal: bad revision 'none'\\n\""
    with pytest.raises(Internal) as caught:
        await listed(blobs, "none")
    assert caught.value.message == f"processing blobs: {text}"
    with pytest.raises(Internal) as caught:
        await pointers(blobs, "none")
    assert caught.value.message == text


async def all_blobs(blobs: BlobServicer, repository: Any = None, **more: Any) -> dict[str, Any]:
    request = ListAllBlobsRequest(repository=repository or message(), **more)
    answers = await all_of(blobs.ListAllBlobs(request, a_call()))
    return {one.oid: (one.size, one.data) for answer in answers for one in answer.blobs}


@BOTH_FORMATS
async def test_all_blobs_are_told_also_those_that_nothing_leads_to(
    blobs: BlobServicer, bare: Bare
) -> None:
    a, b, lost = blob(bare, "aaaa"), blob(bare, ""), blob(bare, "lost")
    commit(bare, {"a": a, "b": b})
    bare.git("repack", "-adq")
    assert await all_blobs(blobs) == {a: (4, b""), b: (0, b""), lost: (4, b"")}
    some = await all_blobs(blobs, bytes_limit=2)
    assert some == {a: (4, b"aa"), b: (0, b""), lost: (4, b"lo")}
    assert len(await all_blobs(blobs, limit=2)) == 2


async def test_a_quarantine_alone_tells_its_own(blobs: BlobServicer, bare: Bare) -> None:
    commit(bare, {"a": blob(bare, "old")})
    put(f"{bare.path}/objects/incoming/keep")
    env = {"GIT_OBJECT_DIRECTORY": f"{bare.path}/objects/incoming"}
    new = bare.git("hash-object", "-w", "--stdin", data=POINTER, env=env)
    alone = message(git_object_directory="objects/incoming")
    assert await all_blobs(blobs, alone, bytes_limit=-1) == {new: (129, POINTER.encode())}
    request = ListAllLFSPointersRequest(repository=alone)
    (answer,) = await all_of(blobs.ListAllLFSPointers(request, a_call()))
    assert [one.oid for one in answer.lfs_pointers] == [new]


async def test_an_empty_repository_has_none(blobs: BlobServicer, bare: Bare) -> None:
    assert await all_blobs(blobs) == {}
    assert await all_pointers(blobs) == []
    assert await listed(blobs, "--all") == []


async def pointers(blobs: BlobServicer, *revisions: str, limit: int = 0) -> list[LFSPointer]:
    request = ListLFSPointersRequest(repository=message(), revisions=revisions, limit=limit)
    answers = await all_of(blobs.ListLFSPointers(request, a_call()))
    return [one for answer in answers for one in answer.lfs_pointers]


async def all_pointers(blobs: BlobServicer, limit: int = 0) -> list[LFSPointer]:
    request = ListAllLFSPointersRequest(repository=message(), limit=limit)
    answers = await all_of(blobs.ListAllLFSPointers(request, a_call()))
    return [one for answer in answers for one in answer.lfs_pointers]


async def named(blobs: BlobServicer, *ids: str) -> list[LFSPointer]:
    request = GetLFSPointersRequest(repository=message(), blob_ids=ids)
    answers = await all_of(blobs.GetLFSPointers(request, a_call()))
    return [one for answer in answers for one in answer.lfs_pointers]


def told(oid: str, text: str) -> LFSPointer:
    return LFSPointer(
        oid=oid, size=len(text), data=text.encode(), file_oid=ID.encode(), file_size=1000
    )


@BOTH_FORMATS
async def test_pointers_are_found_everywhere(blobs: BlobServicer, bare: Bare) -> None:
    texts = {
        name: POINTER + "\n" * more for name, more in (("a", 0), ("b", 70), ("c", 71), ("d", 72))
    }
    assert [len(text) for text in texts.values()] == [129, 199, 200, 201]
    ids = {name: blob(bare, text) for name, text in texts.items()}
    commit(bare, {**ids, "e": blob(bare, "no pointer")})
    lost = blob(bare, POINTER + "lost\n")
    small = [told(ids[name], texts[name]) for name in "ab"]
    both = [*small, told(ids["c"], texts["c"])]
    assert await pointers(blobs, "main") == small
    assert await pointers(blobs, "main", limit=1) == small[:1]
    assert await pointers(blobs, "main", limit=-1) == small
    assert await named(blobs, *ids.values(), "main", ids["a"]) == [*both, small[0]]
    everything = sorted((*both, told(lost, POINTER + "lost\n")), key=lambda one: one.oid)
    assert sorted(await all_pointers(blobs), key=lambda one: one.oid) == everything
    assert len(await all_pointers(blobs, limit=2)) == 2


async def test_pointers_must_be_named_and_be_there(blobs: BlobServicer, bare: Bare) -> None:
    with pytest.raises(InvalidRequest, match="empty BlobIds"):
        await named(blobs)
    there = blob(bare, POINTER)
    for missing in ("1" * 40, "none", "-x", "a b"):
        with pytest.raises(Internal) as caught:
            await named(blobs, there, missing)
        assert caught.value.message == (f'retrieving object info for "{missing}": object not found')


async def test_a_short_id_that_many_have_is_named(blobs: BlobServicer, bare: Bare) -> None:
    seen: dict[str, str] = {}
    number = 0
    while True:  # 16 bits are enough soon
        oid = blob(bare, f"{number}")
        if seen.setdefault(oid[:4], oid) != oid:
            break
        number += 1
    with pytest.raises(Internal) as caught:
        await named(blobs, oid, oid[:4])
    short = oid[:4]
    assert caught.value.message == (
        f'retrieving object info for "{short}": invalid info line: "{short} ambiguous"'
    )
