"""Commits, tags, identities, mailmaps, trailers and trees: read as git and Gitaly read them."""

import asyncio
import os
import random
import subprocess
from pathlib import Path

import pytest

from gitaly.git import (
    Identity,
    Mailmap,
    PipeReader,
    TreeEntry,
    find_entry,
    parse_commit,
    parse_identity,
    parse_tag,
    parse_trailers,
    parse_tree,
    signature_split,
    signed_payload,
)
from gitaly.git.catfile import Answers
from gitaly.git.objects import ObjectInfo
from tests.git.support import ENV, GIT, bare

NEVER = 9223371974719179007


@pytest.mark.parametrize(
    ("value", "identity"),
    [
        (b"Jane Doe <j@x> 17 +0200", Identity(b"Jane Doe", b"j@x", 17, b"+0200")),
        (b"Jane  <j@x> 17 +0200", Identity(b"Jane ", b"j@x", 17, b"+0200")),
        (b"<j@x> 17 +0200", Identity(b"", b"j@x", 17, b"+0200")),
        (b"Jane", Identity(b"Jane")),
        (b"Jane <j@x", Identity(b"Jane")),
        (b"Jane <j@x>", Identity(b"Jane", b"j@x")),
        (b"Jane <j@x> 17", Identity(b"Jane", b"j@x", 17)),
        (b"Jane <j@x> 17 +0200 x", Identity(b"Jane", b"j@x", 17)),
        (b"Jane <a<b>c> 17 +1", Identity(b"Jane", b"a<b", NEVER)),
        (b"J <j@x> -1 +0000", Identity(b"J", b"j@x", NEVER, b"+0000")),
        (b"J <j@x> 9007199254740992 z", Identity(b"J", b"j@x", 1 << 53, b"z")),
        (b"J <j@x> 9007199254740993 z", Identity(b"J", b"j@x", NEVER, b"z")),
        (b"J <j@x> " + b"9" * 5000 + b" z", Identity(b"J", b"j@x", NEVER, b"z")),
        (b"J <j@x> 1_0 z", Identity(b"J", b"j@x", NEVER, b"z")),
        (b"", Identity(b"")),
    ],
)
def test_identities(value: bytes, identity: Identity) -> None:
    assert parse_identity(value) == identity


HEAD = b"tree T\nparent P\nparent Q\nauthor A\ncommitter C\n"


def test_headers_of_a_commit_are_read_up_to_a_signature() -> None:
    commit = parse_commit(HEAD + b"encoding E\nmergetag object X\n tag y\n\nm\n\nn")
    assert (commit.tree_id, commit.parent_ids) == (b"T", [b"P", b"Q"])
    assert (commit.author, commit.committer, commit.encoding) == (b"A", b"C", b"E")
    assert (commit.message, commit.signature) == (b"m\n\nn", None)
    commit = parse_commit(b"tree T\ngpgsig S\n s\n \nparent P\n\nm")
    assert (commit.signature, commit.parent_ids, commit.message) == (b"S\ns\n", [], b"m")


@pytest.mark.parametrize("data", [b"", b"\n", b"tree T", b"nonsense\n\n", b"gpgsig\n\nm", b"\n\nm"])
def test_nothing_in_a_commit_is_an_error(data: bytes) -> None:
    parse_commit(data)
    signed_payload(data)
    parse_tag(data)


def test_only_adjacent_signatures_leave_the_payload() -> None:
    one, two = b"gpgsig a\n b\n", b"gpgsig-sha256 c\n d\n"
    tail = b"\nmessage\ngpgsig x\n"
    assert signed_payload(HEAD + one + two + b"x y\n" + tail) == HEAD + b"x y\n" + tail
    assert signed_payload(HEAD + one + b"x y\n" + two + tail) == HEAD + b"x y\n" + two + tail
    assert (
        signed_payload(HEAD + b"gpgsig-foo a\n b\n" + tail) == HEAD + b"gpgsig-foo a\n b\n" + tail
    )
    assert signed_payload(HEAD + one) == HEAD


def test_what_is_signed_is_what_git_verifies(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", key], check=True)
    repository = bare(tmp_path)
    flags = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}")
    tree = repository.git("mktree")
    commit = repository.git(*flags, "commit-tree", "-S", "-m", "signed", tree)
    data = repository.git("cat-file", "commit", commit).encode() + b"\n"
    signature = parse_commit(data).signature
    assert signature is not None
    check_ssh_signature(tmp_path, signature, signed_payload(data))
    repository.git("update-ref", "refs/heads/main", commit)
    repository.git(*flags, "tag", "-s", "-m", "signed", "v1", commit)
    payload, signature = signature_split(repository.git("cat-file", "tag", "v1").encode() + b"\n")
    assert signature is not None
    assert parse_tag(payload + signature).signature == signature
    check_ssh_signature(tmp_path, signature, payload)


def check_ssh_signature(directory: Path, signature: bytes, payload: bytes) -> None:
    (directory / "signature").write_bytes(signature + b"\n")
    file = str(directory / "signature")
    command = ["ssh-keygen", "-Y", "check-novalidate", "-n", "git", "-s", file]
    subprocess.run(command, input=payload, check=True, capture_output=True)


def test_a_tag_is_read() -> None:
    tag = parse_tag(b"object O\ntype commit\ntag v1\ntagger J\n\nm\n-----BEGIN X\ny\n")
    assert (tag.object_id, tag.object_type, tag.name, tag.tagger) == (b"O", b"commit", b"v1", b"J")
    assert tag.signature == b"-----BEGIN X\ny"
    assert parse_tag(b"object O\n\n-----BEGIN X").signature is None
    assert parse_tag(b"object O").message == b""


MAILMAP = b"""# comment <c@x> <d@x>
Proper <proper@x> Commit Name <COMMIT@x>
Only Name <name@x>
<new@x> <old@x>
 Both  <both@x>  <mail@x>
Other <other@x> Somebody <mail@x>
broken <x
Later <later@x> <old@x>
<> <empty@x>
Nobody <nobody@x>   <> trailing
Twice <twice1@x> Twice <t@x>
Twice <twice2@x> twice <T@X>
"""


def test_mailmaps_rename_as_git_does(tmp_path: Path) -> None:
    repository = bare(tmp_path)
    blob = repository.git("hash-object", "-w", "--stdin", data=MAILMAP.decode())
    tree = repository.git("mktree", data=f"100644 blob {blob}\t.mailmap\n")
    repository.git("update-ref", "HEAD", repository.git("commit-tree", "-m", "x", tree))
    mailmap = Mailmap(MAILMAP)
    names = ["", "Commit Name", "commit name", "Somebody", "Twice", "X Y", "Only Name"]
    emails = [
        "commit@x",
        "name@x",
        "NAME@x",
        "old@x",
        "mail@x",
        "new@x",
        "empty@x",
        "t@x",
        "",
        "z@x",
    ]
    people = [f"{name} <{email}>" for name in names for email in emails]
    expected = git_check_mailmap(repository.path, people)
    for person, renamed in zip(people, expected, strict=True):
        value = mailmap.applied(f"{person} 17 +0000".encode())
        assert value.strip() == f"{renamed} 17 +0000".encode(), person


def git_check_mailmap(path: str, people: list[str]) -> list[str]:
    done = subprocess.run(
        [*GIT, "--git-dir", path, "check-mailmap", "--stdin"],
        input="\n".join(people).encode() + b"\n",
        capture_output=True,
        check=True,
        env=ENV,
    )
    return done.stdout.decode().splitlines()


def test_an_empty_mailmap_changes_nothing() -> None:
    for value in (b"", b"x", b"J <j@x> 1 +0", b"J <j@x"):
        assert Mailmap().applied(value) == Mailmap(b"A <j@y> <j@z>").applied(value) == value


def test_trailers_end_where_one_is_too_long() -> None:
    assert parse_trailers(b"A: 1\0b:2 \0no colon\0: no key\0C:") == [
        *((b"A", b"1"), (b"b", b"2"), (b"C", b""))
    ]
    assert parse_trailers(b"A: 1\0" + b"x" * 129 + b": 1\0B: 2") == [(b"A", b"1")]
    assert parse_trailers(b"A: 1\0B: " + b"x" * 513 + b"\0C: 2") == [(b"A", b"1")]
    assert len(parse_trailers(b"\0".join([b"A: 1"] * 100))) == 64
    assert parse_trailers(b"") == []


def test_trees_are_read_as_they_are_written(tmp_path: Path) -> None:
    rng = random.Random(7)
    modes = [0o100644, 0o40000, 0o160000, 0o120000]
    for size in (20, 32):
        raw_names = {rng.randbytes(5).replace(b"\0", b"x").replace(b"/", b"y") for _ in range(200)}
        entries = [
            TreeEntry(rng.choice(modes), name, rng.randbytes(size).hex())
            for name in sorted(raw_names)
        ]
        data = b"".join(
            b"%o %b\0%b" % (mode, name, bytes.fromhex(oid)) for mode, name, oid in entries
        )
        assert list(parse_tree(data, size)) == entries
        for entry in entries:
            assert find_entry(data, entry.name, size) == entry
        assert find_entry(data, b"none of them", size) is None


def any_tree(rng: random.Random, size: int) -> bytes:
    """A tree with few different names, which its ids and other names contain as well; perhaps it
    is damaged."""
    names = [b"a", b"bc", b"a b", b"7", b"7 a", b"100644 a", b"\xff"]
    data = bytearray()
    for _ in range(rng.choice([0, 1, 5, 30])):
        mode = rng.choice([b"100644", b"40000", b"7", b"120000"])
        looks_like_one = rng.choice([b"", b" a\0", b"100644 a\0", b"7 bc\0", b"\0007 a b\0"])
        raw_id = (rng.randbytes(rng.randint(0, size)) + looks_like_one + rng.randbytes(size))[:size]
        data += mode + b" " + rng.choice(names) + b"\0" + raw_id
    if data and rng.random() < 0.3:
        place = rng.randrange(len(data))
        data[place : place + rng.randint(0, 9)] = rng.randbytes(rng.randint(0, 9))
    return bytes(data)


@pytest.mark.parametrize("size", [20, 32])
@pytest.mark.parametrize("seed", range(200))
def test_an_entry_is_the_first_of_its_name_whatever_ids_look_like(seed: int, size: int) -> None:
    rng = random.Random(seed)
    data = any_tree(rng, size)
    entries = list(parse_tree(data, size))
    for name in {entry.name for entry in entries} | {b"a", b"bc", b"7", b"b", b"", b"a\0x", b" "}:
        first = next((entry for entry in entries if entry.name == name), None)
        assert find_entry(data, name, size) == first


REPLIES = (
    b"1111111111111111111111111111111111111111 blob 5\na\nb\n\n\n"
    b"a\nb missing\n"
    b"main submodule\n"
    b"2222222222222222222222222222222222222222 blob 0\n\n"
)


@pytest.mark.parametrize("cut", range(1, len(REPLIES)))
async def test_answers_do_not_depend_on_where_the_pipe_cuts_them(cut: int) -> None:
    reading, writing = os.pipe()
    reader = PipeReader(reading)

    async def write() -> None:
        for piece in (REPLIES[:cut], REPLIES[cut:]):
            os.write(writing, piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        os.close(writing)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        answers = Answers(reader)
        info = await answers.info(b"x")
        assert info == ObjectInfo("1" * 40, "blob", 5)
        assert await answers.content(info) == b"a\nb\n\n"
        assert await answers.info(b"a\nb") is None
        assert await answers.info(b"main") is None
        empty = await answers.info(b"y")
        assert empty == ObjectInfo("2" * 40, "blob", 0)
        assert [piece async for piece in answers.pieces(empty)] == []
    reader.close()
