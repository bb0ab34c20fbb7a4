from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import (
    CreateRepositoryRequest,
    HasLocalBranchesRequest,
    ObjectFormatRequest,
    RemoveRepositoryRequest,
    RepositoryExistsRequest,
    RepositoryInfoRequest,
    RepositoryInfoResponse,
    RepositorySizeRequest,
)
from gitaly._pb.shared_pb2 import (
    OBJECT_FORMAT_SHA1,
    OBJECT_FORMAT_SHA256,
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
from tests.storage.support import entries, message, put, skeleton

CALL = Call(  # without metadata
    method=node_services()["gitaly.RepositoryService"][0],
    metadata={},
    all_metadata=(),
    started=0,
    account=Account(),
)
FILES = RepositoryInfoResponse.ReferencesInfo.REFERENCE_BACKEND_FILES


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


async def test_sizes_are_whole_kibibytes(repositories: RepositoryServicer, bare: Bare) -> None:
    request = RepositorySizeRequest(repository=message())
    assert (await repositories.RepositorySize(request, CALL)).size == 0
    put(f"{bare.path}/objects/blob", "x" * 16384)
    assert (await repositories.RepositorySize(request, CALL)).size == 16


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", OBJECT_FORMAT_SHA1),
        ("[extensions]\n\tobjectFormat = sha256\n", OBJECT_FORMAT_SHA256),
        ("[any]\n  OBJECTFORMAT=sha256 # as Gitaly reads it\n", OBJECT_FORMAT_SHA256),
    ],
)
async def test_the_object_format_is_read_from_the_config(
    repositories: RepositoryServicer, root: Path, config: str, expected: ObjectFormat
) -> None:
    (skeleton(root) / "config").write_text(config)
    response = await repositories.ObjectFormat(ObjectFormatRequest(repository=message()), CALL)
    assert response.format == expected


async def test_an_unknown_object_format_is_an_error(
    repositories: RepositoryServicer, root: Path
) -> None:
    config = skeleton(root) / "config"
    config.write_text("objectformat = blake2b")
    request = ObjectFormatRequest(repository=message())
    with pytest.raises(Internal) as caught:
        await repositories.ObjectFormat(request, CALL)
    assert caught.value.message == 'detecting object hash: unknown object format: "blake2b"'
    config.unlink()
    with pytest.raises(Internal) as caught:
        await repositories.ObjectFormat(request, CALL)
    assert caught.value.message == ("detecting object hash: open config: no such file or directory")


async def test_branches_are_told_from_other_references(
    repositories: RepositoryServicer, bare: Bare
) -> None:
    request = HasLocalBranchesRequest(repository=message())
    bare.git("update-ref", "refs/tags/t", bare.commit())
    assert (await repositories.HasLocalBranches(request, CALL)).value is False
    bare.git("update-ref", "refs/heads/b", "refs/tags/t")
    assert (await repositories.HasLocalBranches(request, CALL)).value is True


async def test_information_leaves_out_what_is_not_there(
    repositories: RepositoryServicer, bare: Bare
) -> None:
    bare.git("update-ref", "refs/heads/main", bare.commit())
    response = await repositories.RepositoryInfo(RepositoryInfoRequest(repository=message()), CALL)
    assert response.references == RepositoryInfoResponse.ReferencesInfo(
        loose_count=1, reference_backend=FILES
    )
    assert response.objects.loose_objects_count == 2
    assert response.objects.size == response.objects.recent_size > 0
    unset = {"commit_graph", "bitmap", "multi_pack_index", "alternates", "last_full_repack"}
    assert unset.isdisjoint(field.name for field, _ in response.ListFields())


async def test_information_tells_of_every_index(
    repositories: RepositoryServicer, bare: Bare
) -> None:
    bare.git("update-ref", "refs/heads/main", bare.commit())
    bare.git("repack", "-adbq")
    bare.git("multi-pack-index", "write", "--bitmap")
    bare.git("commit-graph", "write", "--reachable", "--changed-paths")
    put(f"{bare.path}/.gitaly-full-repack-timestamp")
    put(f"{bare.path}/objects/info/alternates")
    response = await repositories.RepositoryInfo(RepositoryInfoRequest(repository=message()), CALL)
    assert response.objects.packfile_count == 1
    assert response.commit_graph.has_bloom_filters is True
    assert response.multi_pack_index.packfile_count == 1
    assert response.multi_pack_index_bitmap.version == 1
    assert response.last_full_repack.seconds > 1_700_000_000
    assert response.HasField("alternates")
