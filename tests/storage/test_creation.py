import asyncio
import os
import subprocess
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

import pytest

from gitaly.errors import Aborted, AlreadyExists, FailedPrecondition, Internal, NodeError
from gitaly.git import NO_HOOKS, Git
from gitaly.storage import Creator, Initial, Phase, Repository, Storages
from tests.git.support import Bare, run_git
from tests.storage.support import entries, is_there, message, put, votes_of

NOTHING_LEFT = ["+gitaly/", "+gitaly/tmp/"]


@pytest.fixture
def repository(storages: Storages) -> Repository:
    return storages.creatable(message("@hashed/aa/a.git"))


async def test_a_new_repository_holds_what_gitaly_makes(
    creator: Creator, repository: Repository, root: Path
) -> None:
    await creator.create(repository, initial=Initial())
    assert entries(root) == [
        "+gitaly/",
        "+gitaly/tmp/",
        "@hashed/",
        "@hashed/aa/",
        "@hashed/aa/a.git/",
        "@hashed/aa/a.git/.gitaly-full-repack-timestamp",
        "@hashed/aa/a.git/HEAD",
        "@hashed/aa/a.git/config",
        "@hashed/aa/a.git/objects/",
        "@hashed/aa/a.git/objects/info/",
        "@hashed/aa/a.git/objects/pack/",
        "@hashed/aa/a.git/refs/",
        "@hashed/aa/a.git/refs/heads/",
        "@hashed/aa/a.git/refs/tags/",
    ]
    path = Path(repository.path)
    assert (path / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert (path / "config").read_text() == (
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
    )
    assert (root / "+gitaly/tmp").stat().st_mode & 0o777 == 0o700
    assert Bare(repository.path).git("fsck") == ""


async def test_branch_and_object_format_can_be_chosen(
    creator: Creator, repository: Repository
) -> None:
    await creator.create(repository, initial=Initial(branch="trunk", object_format="sha256"))
    made = Bare(repository.path)
    assert made.git("symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert made.git("rev-parse", "--show-object-format") == "sha256"


async def test_what_exists_is_never_replaced(
    creator: Creator, repository: Repository, root: Path
) -> None:
    put(repository.path, "precious")
    with pytest.raises(AlreadyExists) as caught:
        await creator.create(repository, initial=Initial())
    assert caught.value.message == "repository exists already"
    assert entries(root) == ["@hashed/", "@hashed/aa/", "@hashed/aa/a.git"]


async def test_a_branch_that_git_refuses_is_told_in_gits_words(
    creator: Creator, repository: Repository, root: Path
) -> None:
    with pytest.raises(Internal) as caught:
        await creator.create(repository, initial=Initial(branch="./.lock"))
    assert caught.value.message == (
        "creating repository: exit status 128, stderr: "
        r'''"fatal: invalid initial branch name: './.lock'\n"'''
    )
    assert entries(root) == NOTHING_LEFT


async def test_of_two_that_create_the_same_one_wins(
    creator: Creator, repository: Repository
) -> None:
    async def create() -> str:
        try:
            await creator.create(repository, initial=Initial())
        except NodeError as error:
            return error.message
        return "made"

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(create()) for _ in range(5)]
    results = [call.result() for call in calls]
    assert results.count("made") == 1
    assert set(results) <= {
        "made",
        "repository exists already",
        "locking repository: file already locked",
    }
    assert Bare(repository.path).git("fsck") == ""


async def test_a_lock_of_somebody_else_is_respected(
    creator: Creator, repository: Repository, root: Path
) -> None:
    put(repository.path + ".lock")
    with pytest.raises(Internal) as caught:
        await creator.create(repository, initial=Initial())
    assert caught.value.message == "locking repository: file already locked"
    assert entries(root) == [*NOTHING_LEFT, "@hashed/", "@hashed/aa/", "@hashed/aa/a.git.lock"]


async def test_a_seed_fills_the_repository_before_anybody_sees_it(
    creator: Creator, repository: Repository, git: Git, root: Path
) -> None:
    async def seed(new: Repository) -> None:
        assert new.relative_path.startswith("+gitaly/tmp/repo")
        assert new.path == f"{root}/{new.relative_path}"
        assert not is_there(repository.path)
        (Path(new.path) / "description").write_text("seeded")

    await creator.create(repository, initial=Initial(), seed=seed)
    assert (Path(repository.path) / "description").read_text() == "seeded"


async def test_a_seed_may_make_the_directory_itself(
    creator: Creator, repository: Repository, git: Git, tmp_path: Path
) -> None:
    run_git("init", "--quiet", "--bare", str(tmp_path / "origin"))

    async def clone(new: Repository) -> None:
        assert not is_there(new.path)
        done = await git.output(
            "clone",
            flags=["--bare", "--quiet"],
            args=[str(tmp_path / "origin"), new.path],
            hooks=NO_HOOKS,
        )
        done.checked(with_stderr=True)

    await creator.create(repository, initial=None, seed=clone)
    assert is_there(repository.path + "/HEAD")


@pytest.mark.parametrize("initial", [Initial(), None])
async def test_a_seed_that_fails_leaves_nothing_and_keeps_its_error(
    creator: Creator, repository: Repository, root: Path, initial: Initial | None
) -> None:
    async def seed(_: Repository) -> None:
        raise Aborted("no seed")

    with pytest.raises(Aborted) as caught:
        await creator.create(repository, initial=initial, seed=seed)
    assert caught.value.message == "no seed"
    assert entries(root) == NOTHING_LEFT


async def test_a_cancelled_creation_leaves_nothing(
    creator: Creator, repository: Repository, root: Path
) -> None:
    async def seed(new: Repository) -> None:
        (Path(new.path) / "file").touch()
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await creator.create(repository, initial=Initial(), seed=seed)
    assert entries(root) == NOTHING_LEFT


@pytest.mark.parametrize("milliseconds", range(0, 24, 2))
async def test_a_creation_cancelled_at_any_time_leaves_all_or_nothing(
    creator: Creator, repository: Repository, root: Path, milliseconds: int
) -> None:
    task = asyncio.create_task(creator.create(repository, initial=Initial()))
    await asyncio.sleep(milliseconds / 1000)
    task.cancel()
    await asyncio.wait([task])
    left = [name for name in entries(root) if name.startswith("+") or name.endswith(".lock")]
    assert left in ([], ["+gitaly/"], NOTHING_LEFT)
    if is_there(repository.path):
        assert Bare(repository.path).git("fsck") == ""


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A storage on a file system with room for hardly anything."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    path = tmp_path / "small"
    path.mkdir()
    options = "size=8k,nr_inodes=12"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path])
    if mounted.returncode != 0:
        pytest.skip("cannot mount here")
    yield path
    subprocess.run(["umount", path], check=True)


async def test_a_full_disk_leaves_nothing_and_no_path_in_the_error(
    creator: Creator, full_disk: Path
) -> None:
    storages = Storages([("default", str(full_disk))])
    repository = storages.creatable(message("a.git"))
    with pytest.raises(Internal) as caught:
        await creator.create(repository, initial=Initial())
    assert caught.value.message.startswith("creating repository: exit status 128, stderr: ")
    assert str(full_disk) not in caught.value.message
    assert entries(full_disk) == NOTHING_LEFT


async def test_votes_are_cast_on_what_the_newest_git_lists(
    creator: Creator, repository: Repository
) -> None:
    votes, vote = votes_of()
    await creator.create(repository, initial=Initial(), vote=vote)
    expected = sha1(
        b"core.repositoryformatversion=0\ncore.filemode=true\ncore.bare=true\n"
    ).digest()
    assert votes == [
        (Phase.PREPARING, expected),
        (Phase.PREPARED, expected),
        (Phase.COMMITTED, expected),
    ]


async def test_votes_tell_head_and_all_references(creator: Creator, repository: Repository) -> None:
    votes, vote = votes_of()
    commits = []

    async def seed(new: Repository) -> None:
        made = Bare(new.path)
        commits.append(made.commit())
        made.git("update-ref", "refs/heads/main", commits[0])
        made.git("update-ref", "refs/tags/t", commits[0])

    await creator.create(repository, initial=Initial(), seed=seed, vote=vote)
    commit = commits[0]
    listed = (
        "core.repositoryformatversion=0\ncore.filemode=true\ncore.bare=true\n"
        f"HEAD {commit} refs/heads/main\nrefs/heads/main {commit} \nrefs/tags/t {commit} \n"
    )
    assert {digest for _, digest in votes} == {sha1(listed.encode()).digest()}


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.PREPARED])
async def test_a_preparatory_vote_that_fails_leaves_nothing(
    creator: Creator, repository: Repository, root: Path, phase: Phase
) -> None:
    _, vote = votes_of(failing=phase)
    with pytest.raises(FailedPrecondition) as caught:
        await creator.create(repository, initial=Initial(), vote=vote)
    assert caught.value.message == "preparatory vote: transaction was aborted"
    assert entries(root) == [*NOTHING_LEFT, "@hashed/", "@hashed/aa/"]


async def test_after_a_failed_last_vote_the_repository_stays(
    creator: Creator, repository: Repository, root: Path
) -> None:
    _, vote = votes_of(failing=Phase.COMMITTED)
    with pytest.raises(FailedPrecondition) as caught:
        await creator.create(repository, initial=Initial(), vote=vote)
    assert caught.value.message == "committing vote: transaction was aborted"
    assert is_there(repository.path + "/HEAD")
    assert not is_there(repository.path + ".lock")
