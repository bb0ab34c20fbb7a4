from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import (
    CreateRepositoryRequest,
    RemoveRepositoryRequest,
    RepositoryExistsRequest,
)
from gitaly._pb.shared_pb2 import (
    ObjectFormat,
    Repository,
)
from gitaly.errors import (
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    NodeError,
    NotFound,
)
from gitaly.git.account import Account
from gitaly.rpc import Call, node_services
from gitaly.services.repository import RepositoryServicer
from tests.git.support import Bare
from tests.storage.support import entries, message, skeleton

CALL = Call(  # without metadata
    method=node_services()["gitaly.RepositoryService"][0],
    metadata={},
    all_metadata=(),
    started=0,
    account=Account(),
)


async def test_existence_is_told_of_whatever_lies_there(
    repositories: RepositoryServicer, bare: Bare, root: Path
) -> None:
    (root / "empty").mkdir()
    for path, exists in (("a.git", True), ("none.git", False), ("empty", False)):
        request = RepositoryExistsRequest(repository=message(path))
        assert (await repositories.RepositoryExists(request, CALL)).exists is exists


@pytest.mark.parametrize(
    ("repository", "kind", "text"),
    [
        (None, InvalidRequest, "repository not set"),
        (message("../x"), InvalidRequest, "relative path escapes root directory"),
        (message("x", "missing"), NotFound, "storage does not exist"),
        (message("file"), Internal, "validate git directory: not a directory"),
    ],
)
async def test_what_cannot_be_asked_is_an_error(
    repositories: RepositoryServicer,
    root: Path,
    repository: Repository | None,
    kind: type[NodeError],
    text: str,
) -> None:
    (root / "file").touch()
    with pytest.raises(kind) as caught:
        await repositories.RepositoryExists(RepositoryExistsRequest(repository=repository), CALL)
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("given", "branch", "expected"),
    [
        (0, b"", ("sha1", "refs/heads/main")),
        (1, b"trunk", ("sha1", "refs/heads/trunk")),
        (2, b"a/b", ("sha256", "refs/heads/a/b")),
    ],
)
async def test_a_repository_is_created_as_asked(
    repositories: RepositoryServicer,
    root: Path,
    given: ObjectFormat,
    branch: bytes,
    expected: tuple[str, str],
) -> None:
    request = CreateRepositoryRequest(
        repository=message("x/a.git"), default_branch=branch, object_format=given
    )
    await repositories.CreateRepository(request, CALL)
    made = Bare(f"{root}/x/a.git")
    assert (
        made.git("rev-parse", "--show-object-format"),
        made.git("symbolic-ref", "HEAD"),
    ) == expected


async def test_creating_says_what_is_wrong(repositories: RepositoryServicer, bare: Bare) -> None:
    with pytest.raises(AlreadyExists) as exists:
        await repositories.CreateRepository(CreateRepositoryRequest(repository=message()), CALL)
    assert exists.value.message == "creating repository: repository exists already"
    odd: Any = 3
    request = CreateRepositoryRequest(repository=message("b.git"), object_format=odd)
    with pytest.raises(InvalidRequest) as unknown:
        await repositories.CreateRepository(request, CALL)
    assert unknown.value.message == 'unknown object format: "3"'
    request = CreateRepositoryRequest(repository=message("b.git"), default_branch=b"./.lock")
    with pytest.raises(Internal) as branch:
        await repositories.CreateRepository(request, CALL)
    assert branch.value.message == (
        "creating repository: creating repository: exit status 128, stderr: "
        r'''"fatal: invalid initial branch name: './.lock'\n"'''
    )


@pytest.mark.parametrize("name", [b"a\0b", b"a b", b"\xff.lock"])
async def test_hostile_branch_names_make_no_repository(
    repositories: RepositoryServicer, root: Path, name: bytes
) -> None:
    request = CreateRepositoryRequest(repository=message("b.git"), default_branch=name)
    with pytest.raises(Internal):
        await repositories.CreateRepository(request, CALL)
    assert entries(root) in ([], ["+gitaly/", "+gitaly/tmp/"])


async def test_a_branch_name_is_never_an_option(
    repositories: RepositoryServicer, root: Path
) -> None:
    name = b"--template=x"
    request = CreateRepositoryRequest(repository=message(), default_branch=name)
    await repositories.CreateRepository(request, CALL)
    assert Bare(f"{root}/a.git").git("symbolic-ref", "HEAD") == "refs/heads/--template=x"


async def test_a_removed_repository_is_gone(repositories: RepositoryServicer, bare: Bare) -> None:
    await repositories.RemoveRepository(RemoveRepositoryRequest(repository=message()), CALL)
    request = RepositoryExistsRequest(repository=message())
    assert (await repositories.RepositoryExists(request, CALL)).exists is False
    with pytest.raises(NotFound) as caught:
        await repositories.RemoveRepository(RemoveRepositoryRequest(repository=message()), CALL)
    assert caught.value.message == "repository not found"


async def test_what_is_no_repository_is_not_removed(
    repositories: RepositoryServicer, root: Path
) -> None:
    (skeleton(root) / "HEAD").unlink()
    with pytest.raises(FailedPrecondition) as caught:
        await repositories.RemoveRepository(RemoveRepositoryRequest(repository=message()), CALL)
    assert caught.value.message == 'repository not valid: "HEAD" does not exist'
    assert (root / "a.git").is_dir()
