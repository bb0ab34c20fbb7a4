"""What reading references promises, whoever answers: each test runs with both."""

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitaly.git import (
    Git,
    GitFailed,
    GitReferences,
    Handles,
    InProcessReferences,
    References,
)
from tests.git.support import Bare, bare

MISSING = "1" * 40


class CountingReferences(GitReferences):
    """Counts how often git was asked."""

    asked = 0

    async def exists(self, repository: object, name: bytes) -> bool:
        self.asked += 1
        return await super().exists(repository, name)  # type: ignore[arg-type]  # passed on


@pytest.fixture(params=["git", "in process"])
async def references(git: Git, request: pytest.FixtureRequest) -> AsyncIterator[References]:
    by_git = GitReferences(git)
    if request.param == "git":
        yield by_git
        return
    handles = Handles(git.formats)
    yield InProcessReferences(handles, by_git)
    handles.clear()


@pytest.fixture
def repository(tmp_path: Path) -> Bare:
    return bare(tmp_path)


def loose(repository: Bare, name: str, content: str) -> None:
    path = Path(repository.path) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.mark.parametrize("packed", [False, True])
async def test_references_exist_by_their_full_name(
    references: References, repository: Bare, packed: bool
) -> None:
    commit = repository.commit()
    repository.git("update-ref", "refs/heads/a/b", commit)
    repository.git("update-ref", "refs/keep-around/x", commit)
    repository.git("tag", "-a", "-m", "t", "v1", commit)
    if packed:
        repository.git("pack-refs", "--all")
    for name in (b"refs/heads/a/b", b"refs/keep-around/x", b"refs/tags/v1"):
        assert await references.exists(repository, name) is True
    for name in (b"refs/heads/a", b"refs/heads/a/b/c", b"refs/heads", b"refs/tags/v2"):
        assert await references.exists(repository, name) is False


@pytest.mark.parametrize(
    "name",
    [
        b"refs/",
        b"refs/heads/",
        b"refs//heads/main",
        b"refs/heads/ma in",
        b"refs/heads/main.lock",
        b"refs/heads/../heads/main",
        b"refs/heads/m*n",
        b"refs/heads/main^{commit}",
        b"refs/heads/main\0",
        b"refs/heads/\xff",
        b"refs/heads/main\n",
        b"refs/heads/" + b"x" * 300,
        b"refs/heads/" + b"x/" * 3000 + b"x",
    ],
)
async def test_malformed_and_unlikely_names_do_not_exist(
    references: References, repository: Bare, name: bytes
) -> None:
    repository.git("update-ref", "refs/heads/main", repository.commit())
    assert await references.exists(repository, name) is False


async def test_names_need_not_be_text(references: References, repository: Bare) -> None:
    name = b"refs/heads/\xff\xfe"
    repository.git("update-ref", os.fsdecode(name), repository.commit())
    assert await references.exists(repository, name) is True


async def test_symbolic_references_exist_if_they_lead_somewhere(
    references: References, repository: Bare
) -> None:
    repository.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main")
    assert await references.exists(repository, b"refs/remotes/origin/HEAD") is False
    repository.git("update-ref", "refs/heads/main", repository.commit())
    assert await references.exists(repository, b"refs/remotes/origin/HEAD") is True


async def test_a_reference_to_a_missing_object_is_an_error(
    references: References, repository: Bare
) -> None:
    loose(repository, "refs/heads/broken", MISSING + "\n")
    with pytest.raises(GitFailed) as caught:
        await references.exists(repository, b"refs/heads/broken")
    assert caught.value.message == "exit status 128"


async def test_a_reference_that_holds_rubbish_does_not_exist(
    references: References, repository: Bare
) -> None:
    loose(repository, "refs/heads/rubbish", "hello\n")
    loose(repository, "refs/heads/empty", "")
    assert await references.exists(repository, b"refs/heads/rubbish") is False
    assert await references.exists(repository, b"refs/heads/empty") is False


async def test_what_others_write_is_seen_at_once(references: References, repository: Bare) -> None:
    name = b"refs/heads/main"
    first = repository.commit("one")
    assert await references.exists(repository, name) is False
    repository.git("update-ref", "refs/heads/main", first)
    assert await references.exists(repository, name) is True
    repository.git("pack-refs", "--all")
    assert await references.exists(repository, name) is True
    repository.git("repack", "-adq")
    repository.git("update-ref", "refs/heads/main", repository.commit("two", first))
    repository.git("repack", "-adq")
    assert await references.exists(repository, name) is True
    repository.git("update-ref", "-d", "refs/heads/main")
    assert await references.exists(repository, name) is False


async def test_another_repository_at_the_same_path_is_another_repository(
    references: References, repository: Bare, tmp_path: Path
) -> None:
    repository.git("update-ref", "refs/heads/main", repository.commit())
    assert await references.exists(repository, b"refs/heads/main") is True
    shutil.rmtree(repository.path)
    bare(tmp_path)
    assert await references.exists(repository, b"refs/heads/main") is False
    repository.git("update-ref", "refs/heads/main", repository.commit("other"))
    assert await references.exists(repository, b"refs/heads/main") is True


async def test_objects_of_an_alternate_count(
    references: References, repository: Bare, tmp_path: Path
) -> None:
    commit = repository.commit()
    other = bare(tmp_path / "other")
    (Path(other.path) / "objects/info/alternates").write_text("../../../a.git/objects\n")
    other.git("update-ref", "refs/heads/main", commit)
    assert await references.exists(other, b"refs/heads/main") is True


async def test_objects_of_a_quarantine_count(
    references: References, repository: Bare, tmp_path: Path
) -> None:
    quarantine = Path(repository.path) / "objects/q"
    quarantine.mkdir()
    commit = repository.git(
        "commit-tree", "-m", "x", repository.git("mktree"),
        env={
            "GIT_OBJECT_DIRECTORY": str(quarantine),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{repository.path}/objects",
        },
    )  # fmt: skip
    loose(repository, "refs/heads/main", commit + "\n")
    quarantined = replace(
        repository,
        git_object_directory="objects/q",
        git_alternate_object_directories=("objects",),
    )
    assert await references.exists(quarantined, b"refs/heads/main") is True
    with pytest.raises(GitFailed, match="exit status 128"):
        await references.exists(repository, b"refs/heads/main")


async def test_the_target_of_head_is_told_born_or_not(
    references: References, repository: Bare
) -> None:
    assert await references.head_target(repository) == b"refs/heads/main"
    assert await references.resolve_head(repository) is None
    repository.git("symbolic-ref", "HEAD", "refs/heads/other")
    commit = repository.commit()
    repository.git("update-ref", "refs/heads/other", commit)
    assert await references.head_target(repository) == b"refs/heads/other"
    assert await references.resolve_head(repository) == commit


async def test_a_detached_head_has_no_target(references: References, repository: Bare) -> None:
    commit = repository.commit()
    repository.git("update-ref", "--no-deref", "HEAD", commit)
    for ask in (references.head_target, references.default_branch):
        with pytest.raises(GitFailed) as caught:
            await ask(repository)
        assert caught.value.message == "exit status 128"
    assert await references.resolve_head(repository) == commit


@pytest.mark.parametrize(
    ("head", "branches", "expected"),
    [
        ("refs/heads/main", [], b""),
        ("refs/heads/trunk", ["trunk", "main"], b"refs/heads/trunk"),
        ("refs/heads/trunk", ["a", "main", "master"], b"refs/heads/main"),
        ("refs/heads/trunk", ["a", "master"], b"refs/heads/master"),
        ("refs/heads/trunk", ["b", "a"], b"refs/heads/a"),
        ("refs/heads/trunk", ["main/below", "a"], b"refs/heads/a"),
        ("refs/heads/trunk", ["trunk/below"], b"refs/heads/trunk/below"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
async def test_the_default_branch_is_head_or_main_or_master_or_the_first(
    references: References,
    repository: Bare,
    head: str,
    branches: list[str],
    expected: bytes,
    packed: bool,
) -> None:
    commit = repository.commit()
    repository.git("update-ref", "refs/tags/t", commit)
    for branch in branches:
        repository.git("update-ref", f"refs/heads/{branch}", commit)
    repository.git("symbolic-ref", "HEAD", head)
    if packed:
        repository.git("pack-refs", "--all")
    assert await references.default_branch(repository) == expected
    assert await references.has_branches(repository) is bool(branches)


async def test_broken_branches_are_no_branches(references: References, repository: Bare) -> None:
    loose(repository, "refs/heads/rubbish", "hello\n")
    (Path(repository.path) / "refs/heads/empty/directory").mkdir(parents=True)
    assert await references.has_branches(repository) is False
    assert await references.default_branch(repository) == b""


async def test_a_repository_without_head_is_an_error_of_git(
    references: References, repository: Bare
) -> None:
    (Path(repository.path) / "HEAD").write_text("rubbish")
    with pytest.raises(GitFailed, match="exit status 128"):
        await references.head_target(repository)


@pytest.mark.parametrize("kind", ["sha256", "unknown extension", "partial clone"])
async def test_repositories_that_libgit2_cannot_read_are_answered_all_the_same(
    references: References, tmp_path: Path, kind: str
) -> None:
    repository = bare(tmp_path, *(["--object-format=sha256"] if kind == "sha256" else []))
    commit = repository.commit()
    repository.git("update-ref", "refs/heads/main", commit)
    if kind != "sha256":
        key = "extensions.preciousObjects" if kind.startswith("unknown") else "partialClone"
        key = key if "." in key else f"extensions.{key}"
        repository.git("config", "core.repositoryFormatVersion", "1")
        repository.git("config", key, "true" if "precious" in key else "origin")
    assert await references.exists(repository, b"refs/heads/main") is True
    assert await references.exists(repository, b"refs/heads/other") is False
    assert await references.default_branch(repository) == b"refs/heads/main"
    assert await references.has_branches(repository) is True
    assert await references.resolve_head(repository) == commit


async def test_a_repository_of_another_owner_is_answered_all_the_same(
    references: References, repository: Bare
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    repository.git("update-ref", "refs/heads/main", repository.commit())
    os.chown(repository.path, 12345, 12345)
    assert await references.exists(repository, b"refs/heads/main") is True


async def test_plain_repositories_are_answered_without_git(git: Git, repository: Bare) -> None:
    repository.git("update-ref", "refs/heads/main", repository.commit())
    by_git = CountingReferences(git)
    handles = Handles(git.formats)
    references = InProcessReferences(handles, by_git)
    assert await references.exists(repository, b"refs/heads/main") is True
    assert await references.exists(repository, b"refs/heads/none") is False
    assert by_git.asked == 0
    handles.clear()
