"""Hashes that the reference votes, byte for byte."""

import stat
from hashlib import sha1

import pytest

from gitaly.storage import digest_of
from gitaly.transactions import ballots

ZERO = "0" * 40
BASE = "54de5f960e367de9ade5c8e2eec22a0e09c034fa"
NEXT = "4c6db87bb2149ea7953ab07a05101929691198dc"
NOTHING = "da39a3ee5e6b4b0d3255bfef95601890afd80709"


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        (ballots.hook_synchronization("pre-receive"), "7475a0d87cbbee23b9a7e8ccde58a494db01611f"),
        (ballots.hook_synchronization("update"), "959087c30d483e52b9e8574a4bd58c4cd7070692"),
        (ballots.hook_synchronization("post-receive"), "17709ba9f26ecc0b0109e3015ed9e824792841fb"),
        (ballots.LOCKED_FILE, "1c7fed94f9d88c4fcc97d296a6752cdf623971ea"),
        (ballots.CUSTOM_HOOKS, "c29e69f2b2db1f68f63b9779ad5bc5a726357ba2"),
        (ballots.REPOSITORY_LINKED, "2b2ba21f594461037fe1beea890831af2d7b5122"),
        (ballots.NO_ALTERNATES, "259f2d785585d296f3f93d6b798d5f3ef585f0e0"),
        (ballots.MIGRATE_OBJECTS, "4f04104349b49f2772c34ffacc27d46a2804014e"),
        (ballots.DISCONNECT_ALTERNATE, "dc2bd22287c9dd865c170382df0c1d91a8d4e4e0"),
        (
            digest_of(b"pre-remove @cluster/repositories/6b/86/1"),
            "3d8622f5900b8619d5b85cd267151c0549779f1f",
        ),
        (digest_of(b""), NOTHING),
        (ballots.CONCLUSION, ZERO),
    ],
)
def test_constant_votes(digest: bytes, expected: str) -> None:
    assert digest.hex() == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [f"{ZERO} 2aafb093eda5fb154c33268f1937e571d57d4e06 refs/heads/topic"],
            "ad5092c4552cd4ee7c3a8d7f17c4483258f6ee49",
        ),
        ([f"{BASE} {NEXT} refs/heads/main"], "e26b41420c402c7b620f7bde49c19015db02122e"),
        (
            [f"{BASE} {NEXT} refs/heads/main", f"{BASE} {NEXT} HEAD"],
            "b3c457884b80808d034a519b0fbacdec86b0d348",
        ),
        ([f"{BASE} {ZERO} refs/heads/side"], "a3b283ac72db931e45842a39df4aa35365a5456c"),
    ],
    ids=["a new branch", "as git 2.55 tells it", "as git 2.39 tells it", "a deletion"],
)
def test_votes_on_references_are_hashes_of_what_git_says(lines: list[str], expected: str) -> None:
    said = "".join(f"{line}\n" for line in lines).encode()
    digest = ballots.reference_updates(said)
    assert digest is not None
    assert digest.hex() == expected


@pytest.mark.parametrize("zero", ["0" * 40, "0" * 64])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_deletions_without_an_old_value_are_not_voted_on(zero: str, count: int) -> None:
    said = "".join(f"{zero} {zero} refs/heads/{number}\n" for number in range(count))
    assert ballots.reference_updates(said.encode()) is None


@pytest.mark.parametrize(
    "said",
    [
        f"{ZERO} {ZERO} refs/heads/a\n{BASE} {ZERO} refs/heads/b\n",
        f"{BASE} {ZERO} refs/heads/b\n{ZERO} {ZERO} refs/heads/a\n",
        f"{ZERO} ref:refs/heads/main HEAD\n",
        f"{'0' * 39} {'0' * 39} refs/heads/a\n",
        f"{'0' * 40} {'0' * 64} refs/heads/a\n",
        f"{ZERO} {ZERO} refs/heads/a\n\n",
    ],
)
def test_everything_else_is_voted_on_as_it_stands(said: str) -> None:
    assert ballots.reference_updates(said.encode()) == sha1(said.encode()).digest()


def test_a_directory_of_hooks() -> None:
    ballot = ballots.DirectoryBallot()
    ballot.entry(b".", stat.S_IFDIR | 0o700)
    ballot.entry(b"pre-receive", stat.S_IFREG | 0o755, b"#!/bin/sh\nexit 0\n")
    assert ballot.digest().hex() == "431fd0d73a40f287cd26a8560da7462c1e8c1727"


@pytest.mark.parametrize(
    ("mode", "written"),
    [
        (stat.S_IFREG | 0o4755, "008001ed"),
        (stat.S_IFREG | 0o2755, "004001ed"),
        (stat.S_IFREG | 0o1644, "001001a4"),
        (stat.S_IFLNK | 0o777, "080001ff"),
        (stat.S_IFDIR | 0o3770, "805001f8"),
    ],
)
def test_modes_are_written_as_go_writes_them(mode: int, written: str) -> None:
    ballot = ballots.DirectoryBallot()
    ballot.entry(b"x", mode)
    assert ballot.digest() == sha1(b"x" + bytes.fromhex(written)).digest()


def test_what_a_symbolic_link_leads_to_counts_and_what_a_directory_holds_does_not() -> None:
    link, directory = ballots.DirectoryBallot(), ballots.DirectoryBallot()
    link.entry(b"l", stat.S_IFLNK | 0o777, b"text")
    directory.entry(b"d", stat.S_IFDIR | 0o755, b"text")
    assert link.digest() == sha1(b"l\x08\x00\x01\xfftext").digest()
    assert directory.digest() == sha1(b"d\x80\x00\x01\xed").digest()
