from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import CalculateChecksumRequest, FsckRequest
from gitaly.errors import DataLoss
from gitaly.git.checksum import add, text_of
from gitaly.services.repository import ConsistencyServicer
from tests.git.support import Bare
from tests.services.repository.filling import commit_files, damage_pack_indices, lose_packs
from tests.storage.support import message, skeleton

CALL: Any = None  # none of these calls looks at it


async def checksum(consistency: ConsistencyServicer) -> str:
    request = CalculateChecksumRequest(repository=message())
    return (await consistency.CalculateChecksum(request, CALL)).checksum


def test_the_checksum_of_praefects_documentation() -> None:
    object_id = b"2aafb093eda5fb154c33268f1937e571d57d4e06"
    lines = [object_id + b" HEAD", object_id + b" refs/heads/master"]
    assert text_of(add(0, lines)) == "cfc3e7a77bfea92af42568293e034ebd23e2a189"
    assert text_of(add(0, lines[::-1])) == text_of(add(add(0, lines[:1]), lines[1:]))


def test_leading_zero_bytes_of_a_checksum_vanish() -> None:
    number = next(n for n in range(10_000) if sha1(b"%d HEAD" % n).digest()[0] == 0)
    text = text_of(add(0, [b"%d HEAD" % number]))
    assert len(text) <= 38
    assert text == sha1(b"%d HEAD" % number).hexdigest()[2:]


async def test_the_checksum_counts_well_known_references_only(
    consistency: ConsistencyServicer, either: Bare
) -> None:
    commit = commit_files(either, {"a": b"a"})
    lines = [f"{commit} HEAD".encode(), f"{commit} refs/heads/main".encode()]
    expected = text_of(add(0, lines))
    either.git("update-ref", "refs/pipelines/1", commit)
    assert await checksum(consistency) == expected
    either.git("update-ref", "refs/keep-around/1", commit)
    assert await checksum(consistency) == text_of(
        add(0, [*lines, f"{commit} refs/keep-around/1".encode()])
    )


async def test_a_repository_without_references_has_zeros(
    consistency: ConsistencyServicer, bare: Bare
) -> None:
    assert await checksum(consistency) == "0" * 40


async def test_no_repository_for_git_is_data_loss(
    consistency: ConsistencyServicer, root: Path
) -> None:
    (skeleton(root) / "HEAD").write_text("nonsense\n")
    with pytest.raises(DataLoss) as caught:
        await checksum(consistency)
    assert caught.value.message == "not a git repository 'a.git'"


async def test_a_sound_repository_has_nothing_to_complain_about(
    consistency: ConsistencyServicer, either: Bare
) -> None:
    commit_files(either, {"a": b"a"})
    either.commit("dangling")
    response = await consistency.Fsck(FsckRequest(repository=message()), CALL)
    assert response.error == b""


async def test_damage_is_told_in_gits_words(consistency: ConsistencyServicer, bare: Bare) -> None:
    commit_files(bare, {"a": b"a"})
    lose_packs(bare)
    response = await consistency.Fsck(FsckRequest(repository=message()), CALL)
    assert b"refs/heads/main: invalid sha1 pointer" in response.error


async def test_a_repository_may_be_checked_without_its_alternates(
    consistency: ConsistencyServicer, bare: Bare, root: Path
) -> None:
    commit_files(bare, {"a": b"a"})
    other = root / "b.git"
    bare.git("clone", "--bare", "--quiet", "--shared", "--template=", bare.path, str(other))
    damage_pack_indices(bare)
    whole = await consistency.Fsck(FsckRequest(repository=message("b.git")), CALL)
    own = await consistency.Fsck(FsckRequest(repository=message("b.git"), repo_only=True), CALL)
    assert b"index" in whole.error
    assert own.error == b""


async def test_endless_complaints_are_cut(consistency: ConsistencyServicer, root: Path) -> None:
    path = skeleton(root)
    lines = [f"{'1' * 40} refs/heads/{number:0>200}" for number in range(20_000)]
    (path / "packed-refs").write_text("\n".join(lines) + "\n")
    response = await consistency.Fsck(FsckRequest(repository=message()), CALL)
    assert 3 << 20 <= len(response.error) < 4 << 20
    assert response.error.endswith(b" bytes more\n")
