"""FindTag, FindAllTags, GetTagSignatures, GetTagMessages."""

from typing import Any

import pytest

from gitaly._pb.ref_pb2 import (
    FindAllTagsRequest,
    FindAllTagsResponse,
    FindTagError,
    FindTagRequest,
    GetTagMessagesRequest,
    GetTagSignaturesRequest,
)
from gitaly._pb.shared_pb2 import DESCENDING, NONE, PGP, PaginationParameter, Tag
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.ref import RefServicer
from tests.git.support import Bare
from tests.services.readers import a_call, all_of, decoded
from tests.storage.support import message, put

BOTH_FORMATS = pytest.mark.parametrize("bare", ["sha1", "sha256"], indirect=True)
SIGNATURE = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----"
Key = FindAllTagsRequest.SortBy


def tag_object(bare: Bare, target: str, kind: str, text: str, tagger: str = "") -> str:
    tagger = tagger or "tagger Jane Doe <jane@example.com> 1600000000 +0100\n"
    data = f"object {target}\ntype {kind}\ntag inner-name\n{tagger}\n{text}"
    return bare.git("hash-object", "-t", "tag", "--literally", "-w", "--stdin", data=data)


def put_tag(bare: Bare, name: str, target: str) -> str:
    bare.git("update-ref", f"refs/tags/{name}", target)
    return target


async def one(refs: RefServicer, name: bytes) -> Tag:
    request = FindTagRequest(repository=message(), tag_name=name)
    return (await refs.FindTag(request, a_call())).tag


async def all_tags(refs: RefServicer, **more: Any) -> list[Tag]:
    request = FindAllTagsRequest(repository=message(), **more)
    answers = await decoded(FindAllTagsResponse, refs.FindAllTags(request, a_call()))
    return [tag for answer in answers for tag in answer.tags]


async def names(refs: RefServicer, **more: Any) -> list[str]:
    return [tag.name.decode() for tag in await all_tags(refs, **more)]


@pytest.fixture
def tags(bare: Bare) -> dict[str, str]:
    """Ids of objects by the names of the tags that lead to them."""
    commit = bare.commit()
    blob = bare.git("hash-object", "-w", "--stdin", data="x" * 100_000)
    annotated = tag_object(bare, commit, "commit", f"one\n\n{SIGNATURE}\n\n\n")
    nested = tag_object(bare, annotated, "tag", "two\n", "tagger Nobody\n")
    ids = {
        "annotated": annotated,
        "blob": blob,
        "light": commit,
        "nested": nested,
        "nested2": tag_object(bare, nested, "tag", "three"),
        "of-blob": tag_object(bare, blob, "blob", "four"),
        "of-nothing": tag_object(bare, bare.git("mktree"), "tree", ""),
        "same": annotated,
    }
    for name, target in ids.items():
        put_tag(bare, name, target)
    return ids


@BOTH_FORMATS
async def test_tags_tell_themselves_and_the_commit_under_them(
    refs: RefServicer, tags: dict[str, str]
) -> None:
    found = {tag.name.decode(): tag for tag in await all_tags(refs)}
    assert {name: tag.id for name, tag in found.items()} == tags
    commits = {name: tag.target_commit.id for name, tag in found.items()}
    commit = tags["light"]
    assert commits == {
        "annotated": commit,
        "blob": "",
        "light": commit,
        "nested": commit,
        "nested2": commit,
        "of-blob": "",
        "of-nothing": "",
        "same": commit,
    }
    assert not found["blob"].HasField("target_commit")
    annotated = found["annotated"]
    assert annotated.message == b"one\n\n" + SIGNATURE.encode()
    assert annotated.message_size == len(annotated.message)
    assert annotated.signature_type == PGP
    assert (annotated.tagger.email, annotated.tagger.date.seconds, annotated.tagger.timezone) == (
        b"jane@example.com",
        1600000000,
        b"+0100",
    )
    assert found["nested"].tagger.name == b"Nobody"
    assert not found["nested"].tagger.HasField("date")
    assert found["light"].signature_type == NONE
    for name, tag in found.items():
        assert await one(refs, name.encode()) == tag


@pytest.mark.parametrize(
    ("name", "found"), [(b"v*", b"v1/a"), (b"v?", b"v2"), (b"v1/?", b"v1/a"), (b"[x]2", None)]
)
async def test_a_name_may_be_a_pattern(
    refs: RefServicer, bare: Bare, name: bytes, found: bytes | None
) -> None:
    for tag in ("v2", "v1/a"):
        put_tag(bare, tag, bare.commit())
    if found is not None:
        assert (await one(refs, name)).name == found
        return
    with pytest.raises(NotFound):
        await one(refs, name)


@pytest.mark.parametrize(
    "name", [b"none", b"refs/tags/v1", b"v", b"v1/", b" v1", b"v1\n", b"v1^{}", b"\xff", b"a" * 300]
)
async def test_a_tag_that_is_not_there_is_named_in_the_details(
    refs: RefServicer, bare: Bare, name: bytes
) -> None:
    put_tag(bare, "v1", bare.commit())
    put_tag(bare, "v/1", bare.commit())
    with pytest.raises(NotFound, match="tag does not exist") as caught:
        await one(refs, name)
    (detail,) = caught.value.details
    assert isinstance(detail, FindTagError)
    assert detail.tag_not_found.reference_name == b"refs/tags/" + name


async def test_a_tag_needs_a_name_that_git_can_be_asked_for(refs: RefServicer, bare: Bare) -> None:
    with pytest.raises(InvalidRequest, match="tag name is empty"):
        await one(refs, b"")
    for name in (b"-d", b"--format=%(refname)", b"a\0b"):
        with pytest.raises(NodeError):
            await one(refs, name)


async def test_a_tag_whose_object_is_missing_does_not_exist(refs: RefServicer, bare: Bare) -> None:
    put(f"{bare.path}/refs/tags/lost", "1" * 40 + "\n")
    for name in (b"lost", b"los*"):
        with pytest.raises(NotFound):
            await one(refs, name)
    with pytest.raises(Internal) as caught:
        await all_tags(refs)
    assert caught.value.message == "iterating over tags: requesting object: object not found"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("commit", "getting target commit: object not found"),
        ("tag", "dereferencing tag: peeling tag: object not found"),
    ],
)
async def test_a_tag_of_something_missing_is_an_error(
    refs: RefServicer, bare: Bare, kind: str, text: str
) -> None:
    tag = put_tag(bare, "lost", tag_object(bare, "1" * 40, kind, "x"))
    with pytest.raises(Internal) as caught:
        await one(refs, b"lost")
    expected = f"buildAnnotatedTag error when {text}"
    assert caught.value.message == f"parsing tag: getting annotated tag: {expected}"
    with pytest.raises(Internal) as caught:
        await messages(refs, tag)
    assert caught.value.message == f"getting tag: {expected}"
    with pytest.raises(Internal):
        await all_tags(refs)


async def test_long_messages_are_cut_with_their_size(refs: RefServicer, bare: Bare) -> None:
    tag = put_tag(bare, "v1", tag_object(bare, bare.commit(), "commit", "x" * 300_000 + "\n\n"))
    for found in (await one(refs, b"v1"), *await all_tags(refs)):
        assert (len(found.message), found.message_size) == (10240, 300_000)
    request = GetTagMessagesRequest(repository=message(), tag_ids=[tag])
    answers = await all_of(refs.GetTagMessages(request, a_call()))
    assert [len(answer.message) for answer in answers] == [0, 131072, 131072, 300_002 - 262144]


async def test_tags_are_sorted_as_wanted(refs: RefServicer, bare: Bare) -> None:
    for name, seconds in (("v1.10", 1), ("v1.9", 3), ("other", 2)):
        tagger = f"tagger A <a@b> {1600000000 + seconds} +0000\n"
        put_tag(bare, name, tag_object(bare, bare.commit(), "commit", "x", tagger))
    assert await names(refs) == ["other", "v1.10", "v1.9"]
    by_date = Key(key=Key.CREATORDATE)
    assert await names(refs, sort_by=by_date) == ["v1.10", "other", "v1.9"]
    by_version = Key(key=Key.VERSION_REFNAME, direction=DESCENDING)
    assert await names(refs, sort_by=by_version) == ["v1.10", "v1.9", "other"]
    for sort_by, text in (
        (Key(direction=5), "unsupported sorting direction: 5"),  # type: ignore[arg-type]
        (Key(key=7), "unsupported sorting key: 7"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidRequest) as caught:
            await names(refs, sort_by=sort_by)
        assert caught.value.message == text


async def test_tags_come_in_pages(refs: RefServicer, bare: Bare) -> None:
    for name in "abc":
        put_tag(bare, name, bare.commit())

    async def page(limit: int, token: str = "") -> list[str]:
        return await names(
            refs, pagination_params=PaginationParameter(limit=limit, page_token=token)
        )

    assert await page(2) == ["a", "b"]
    assert await page(2, "refs/tags/b") == ["c"]
    assert await page(-1, "refs/tags/a") == ["b", "c"]
    assert await page(0) == []
    for limit, token in ((2, "b"), (2, "refs/tags/none"), (0, "refs/tags/a")):
        with pytest.raises(InvalidRequest) as caught:
            await page(limit, token)
        assert caught.value.message == "could not find page token"


async def signatures(refs: RefServicer, *revisions: str) -> dict[str, tuple[bytes, bytes]]:
    request = GetTagSignaturesRequest(repository=message(), tag_revisions=revisions)
    answers = await all_of(refs.GetTagSignatures(request, a_call()))
    return {
        one.tag_id: (one.content, one.signature) for answer in answers for one in answer.signatures
    }


@BOTH_FORMATS
async def test_signatures_are_split_off(refs: RefServicer, tags: dict[str, str]) -> None:
    found = await signatures(refs, "annotated")
    content, signature = found[tags["annotated"]]
    assert content.endswith(b"+0100\n\none\n\n")
    assert signature == SIGNATURE.encode() + b"\n\n"
    assert (await signatures(refs, "of-blob"))[tags["of-blob"]][1] == b""
    every = {tags[name] for name in ("annotated", "nested", "nested2", "of-blob", "of-nothing")}
    assert set(await signatures(refs, "--tags")) == every
    assert set(await signatures(refs, "nested2", "--not", "nested")) == {tags["nested2"]}
    assert await signatures(refs, "light") == {}


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        ("", "invalid revision: empty revision"),
        ("--output=/tmp/x", "invalid revision: revision can't start with '-'"),
        ("a b", "invalid revision: revision can't contain whitespace"),
        ("main:a", "invalid revision: revision can't contain ':'"),
    ],
)
async def test_signatures_of_what_is_no_revision_are_refused(
    refs: RefServicer, bare: Bare, revision: str, text: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await signatures(refs, revision)
    assert caught.value.message == text


async def test_signatures_of_nothing_and_of_the_unknown(refs: RefServicer, bare: Bare) -> None:
    with pytest.raises(InvalidRequest, match="missing revisions"):
        await signatures(refs)
    with pytest.raises(Internal) as caught:
        await signatures(refs, "none")
    assert caught.value.message == (
        "cat-file iterator stop: rev-list pipeline command: exit status 128,"
        " stderr: \"fatal: bad revision 'none'\\n\""
    )


async def messages(refs: RefServicer, *ids: str) -> list[tuple[str, bytes]]:
    request = GetTagMessagesRequest(repository=message(), tag_ids=ids)
    found: list[tuple[str, bytes]] = []
    async for answer in refs.GetTagMessages(request, a_call()):
        if answer.tag_id:
            found.append((answer.tag_id, b""))
        found[-1] = (found[-1][0], found[-1][1] + answer.message)
    return found


@BOTH_FORMATS
async def test_messages_are_whole(refs: RefServicer, tags: dict[str, str]) -> None:
    asked = [tags["annotated"], "nested", tags["of-nothing"], tags["annotated"]]
    text = f"one\n\n{SIGNATURE}\n\n\n".encode()
    assert await messages(refs, *asked) == [
        (asked[0], text),
        ("nested", b"two\n"),
        (asked[2], b""),
        (asked[3], text),
    ]
    assert await messages(refs) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none", "getting tag: object not found"),
        ("", "getting tag: object not found"),
        ("--batch", "getting tag: object not found"),
        ("light", "getting tag: expected tag, got commit"),
        ("blob", "getting tag: expected tag, got blob"),
    ],
)
async def test_messages_are_of_tags_only(
    refs: RefServicer, tags: dict[str, str], name: str, text: str
) -> None:
    with pytest.raises(Internal) as caught:
        await messages(refs, name)
    assert caught.value.message == text


async def test_people_are_renamed_also_in_what_was_signed(refs: RefServicer, bare: Bare) -> None:
    blob = bare.git("hash-object", "-w", "--stdin", data="Queen <q@example.com> <jane@example.com>")
    tree = bare.git("mktree", data=f"100644 blob {blob}\t.mailmap\n")
    commit = bare.git("commit-tree", "-m", "one", tree)
    bare.git("update-ref", "refs/heads/main", commit)
    tag = put_tag(bare, "v1", tag_object(bare, commit, "commit", "x"))
    (content, _) = (await signatures(refs, "v1"))[tag]
    assert b"tagger Queen <q@example.com> 1600000000 +0100\n" in content
    assert (await one(refs, b"v1")).tagger.name == b"Queen"
    assert (await one(refs, b"v1")).target_commit.author.name == b"Queen"
    request = FindTagRequest(repository=message(), tag_name=b"v1")
    plain = await refs.FindTag(request, a_call("mailmap-options", value="false"))
    assert plain.tag.tagger.name == b"Jane Doe"
    assert plain.tag.target_commit.author.name == b"Jane Doe"


async def test_lists_follow_the_mailmap_as_it_changes(refs: RefServicer, bare: Bare) -> None:
    commit = bare.commit()
    put_tag(bare, "light", commit)
    put_tag(bare, "v1", tag_object(bare, commit, "commit", "x"))

    async def authors(*calls: str) -> list[bytes]:
        request = FindAllTagsRequest(repository=message())
        answers = await decoded(
            FindAllTagsResponse, refs.FindAllTags(request, a_call(*calls, value="false"))
        )
        tags = [tag for answer in answers for tag in answer.tags]
        return [tag.target_commit.author.name for tag in tags] + [tags[1].tagger.name]

    for name in (b"Jane Doe", b"Queen", b"King"):
        if name != b"Jane Doe":
            line = name.decode() + " <q@example.com> <jane@example.com>"
            blob = bare.git("hash-object", "-w", "--stdin", data=line)
            tree = bare.git("mktree", data=f"100644 blob {blob}\t.mailmap\n")
            bare.git("update-ref", "refs/heads/main", bare.git("commit-tree", "-m", "m", tree))
        assert await authors() == [name] * 3
        assert await authors() == [name] * 3
        assert await authors("mailmap-options") == [b"Jane Doe"] * 3
