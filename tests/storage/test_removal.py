import asyncio
import os
from hashlib import sha1
from pathlib import Path

import pytest
import structlog

from gitaly.errors import FailedPrecondition, Internal, NotFound
from gitaly.storage import Phase, Remover, Repository, RepositoryLock, Storages
from tests.storage.support import entries, is_there, message, skeleton, votes_of

EMPTY = ["+gitaly/", "+gitaly/tmp/", "x/"]


@pytest.fixture
def repository(storages: Storages, root: Path) -> Repository:
    skeleton(root, "x/a.git")
    return storages.existing(message("x/a.git"))


async def test_nothing_is_left_of_a_removed_repository(
    remover: Remover, repository: Repository, root: Path, forgotten: list[str]
) -> None:
    await remover.remove(repository)
    assert entries(root) == EMPTY
    assert forgotten == [repository.path]


async def test_a_repository_without_permissions_goes_as_well(
    remover: Remover, repository: Repository, root: Path
) -> None:
    os.chmod(f"{repository.path}/objects", 0)
    await remover.remove(repository)
    assert entries(root) == EMPTY


async def test_what_is_gone_already_is_not_found(remover: Remover, repository: Repository) -> None:
    await remover.remove(repository)
    with pytest.raises(NotFound) as caught:
        await remover.remove(repository)
    assert caught.value.message == "repository does not exist"


async def test_a_locked_repository_stays(
    remover: Remover, repository: Repository, root: Path
) -> None:
    lock = RepositoryLock(repository.path)
    lock.take()
    with pytest.raises(FailedPrecondition) as caught:
        await remover.remove(repository)
    assert caught.value.message == "repository is already locked"
    assert is_there(f"{repository.path}/HEAD")
    lock.release()
    await remover.remove(repository)
    assert entries(root) == EMPTY


async def test_of_two_that_remove_the_same_one_wins(
    remover: Remover, repository: Repository, root: Path
) -> None:
    async def remove() -> str:
        try:
            await remover.remove(repository)
        except (NotFound, FailedPrecondition) as error:
            return error.message
        return "removed"

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(remove()) for _ in range(5)]
    assert [call.result() for call in calls].count("removed") == 1
    assert entries(root) == EMPTY


async def test_votes_name_the_path_of_the_request(remover: Remover, repository: Repository) -> None:
    votes, vote = votes_of()
    await remover.remove(repository, vote=vote)
    assert votes == [
        (Phase.PREPARING, sha1(b"acquiring distributed lock x/a.git").digest()),
        (Phase.PREPARED, sha1(b"pre-remove x/a.git").digest()),
        (Phase.COMMITTED, sha1(b"post-remove x/a.git").digest()),
    ]


@pytest.mark.parametrize(
    ("phase", "text", "stays"),
    [
        (Phase.PREPARING, "vote on rename: transaction was aborted", True),
        (Phase.PREPARED, "vote on rename: transaction was aborted", True),
        (Phase.COMMITTED, "vote on finalizing: transaction was aborted", False),
    ],
)
async def test_only_before_the_rename_a_failed_vote_saves_the_repository(
    remover: Remover, repository: Repository, phase: Phase, text: str, stays: bool
) -> None:
    _, vote = votes_of(failing=phase)
    with pytest.raises(Internal) as caught:
        await remover.remove(repository, vote=vote)
    assert caught.value.message == text
    assert is_there(repository.path) is stays
    assert not is_there(repository.path + ".lock")


async def test_a_vote_for_a_repository_that_vanishes_meanwhile(
    remover: Remover, repository: Repository, root: Path
) -> None:
    async def vote(phase: Phase, digest: bytes) -> None:
        if phase is Phase.PREPARING:
            os.rename(repository.path, root / "elsewhere")

    with pytest.raises(NotFound) as caught:
        await remover.remove(repository, vote=vote)
    assert caught.value.message == "repository was concurrently removed"


async def test_what_cannot_be_deleted_is_logged_and_left_to_the_sweep(
    remover: Remover,
    repository: Repository,
    root: Path,
    log: structlog.testing.LogCapture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def busy(_: str) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("gitaly.storage.tempdirs.remove_tree", busy)
    await remover.remove(repository)
    assert not is_there(repository.path)
    assert [entry["event"] for entry in log.entries] == [
        "failed removing repository from temporary directory"
    ]
    (left,) = os.listdir(root / "+gitaly/tmp")
    assert left.startswith("a.git+removed-")
    assert os.listdir(root / "+gitaly/tmp" / left) == ["repo"]
