"""Hashes that the reference votes, byte for byte."""

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
