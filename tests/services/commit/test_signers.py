"""Who has signed a commit: the node itself, or somebody else."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitaly._pb.commit_pb2 import GetCommitSignaturesRequest, GetCommitSignaturesResponse
from gitaly.errors import Internal
from gitaly.git import SigningKeyFiles
from gitaly.services.commit import CommitServicer
from tests.git.keys import GnuPG, gnupg, ssh_key
from tests.services.commit.support import CALL, History, all_of
from tests.storage.support import message

USER = GetCommitSignaturesResponse.SIGNER_USER
SYSTEM = GetCommitSignaturesResponse.SIGNER_SYSTEM


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[GnuPG]:
    with gnupg(tmp_path / "ring") as ring:
        yield ring


@pytest.fixture
def signing_keys(tmp_path: Path, ring: GnuPG) -> SigningKeyFiles:
    ssh_key(tmp_path)
    (tmp_path / "former").write_bytes(ring.exported(ring.key("ed25519")))
    return SigningKeyFiles(str(tmp_path / "key"), [str(tmp_path / "former")])


def signed_by_git(history: History, *config: str, env: dict[str, str] | None = None) -> str:
    """A commit that git itself signs."""
    options = [word for setting in config for word in ("-c", setting)]
    tree = history.tree({})
    return history.repository.git(
        *options,
        "commit-tree",
        "-S",
        tree,
        data="message",
        env={"PATH": os.environ["PATH"], **(env or {})},
    )


async def test_commits_that_the_node_has_signed_are_told_from_those_of_others(
    commits: CommitServicer, history: History, tmp_path: Path, ring: GnuPG
) -> None:
    ssh_key(tmp_path, name="other")
    home = {"GNUPGHOME": str(ring.home)}
    other = ring.key("ed25519")
    ids = [
        signed_by_git(history, "gpg.format=ssh", f"user.signingKey={tmp_path}/key"),
        signed_by_git(history, "gpg.format=ssh", f"user.signingKey={tmp_path}/other"),
        signed_by_git(history, "user.signingKey=node1@example.com", env=home),
        signed_by_git(history, f"user.signingKey={other}", env=home),
    ]
    request = GetCommitSignaturesRequest(repository=message(), commit_ids=ids)
    answers = await all_of(commits.GetCommitSignatures(request, CALL))
    signers = {answer.commit_id: answer.signer for answer in answers if answer.commit_id}
    assert [signers[object_id] for object_id in ids] == [SYSTEM, USER, SYSTEM, USER]


async def test_without_its_keys_nobody_hears_about_signatures(
    commits: CommitServicer, history: History, tmp_path: Path
) -> None:
    made = history.commit()
    (tmp_path / "former").unlink()
    request = GetCommitSignaturesRequest(repository=message(), commit_ids=[made])
    with pytest.raises(Internal) as caught:
        await all_of(commits.GetCommitSignatures(request, CALL))
    assert caught.value.message == (
        "failed to parse signing key: open file: no such file or directory"
    )
