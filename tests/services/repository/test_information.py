from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import (
    GetObjectDirectorySizeRequest,
    HasLocalBranchesRequest,
    ObjectFormatRequest,
    RepositoryInfoRequest,
    RepositoryInfoResponse,
    RepositorySizeRequest,
)
from gitaly._pb.shared_pb2 import OBJECT_FORMAT_SHA1, OBJECT_FORMAT_SHA256, ObjectFormat
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.services.repository import RepositoryInformationServicer
from tests.git.support import Bare
from tests.storage.support import message, put, skeleton

CALL: Any = None  # none of these calls looks at it
FILES = RepositoryInfoResponse.ReferencesInfo.REFERENCE_BACKEND_FILES


async def test_sizes_are_whole_kibibytes(
    information: RepositoryInformationServicer, bare: Bare
) -> None:
    request = RepositorySizeRequest(repository=message())
    assert (await information.RepositorySize(request, CALL)).size == 0
    put(f"{bare.path}/objects/blob", "x" * 16384)
    assert (await information.RepositorySize(request, CALL)).size == 16


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", OBJECT_FORMAT_SHA1),
        ("[extensions]\n\tobjectFormat = sha256\n", OBJECT_FORMAT_SHA256),
        ("[any]\n  OBJECTFORMAT=sha256 # as Gitaly reads it\n", OBJECT_FORMAT_SHA256),
    ],
)
async def test_the_object_format_is_read_from_the_config(
    information: RepositoryInformationServicer, root: Path, config: str, expected: ObjectFormat
) -> None:
    (skeleton(root) / "config").write_text(config)
    response = await information.ObjectFormat(ObjectFormatRequest(repository=message()), CALL)
    assert response.format == expected


async def test_an_unknown_object_format_is_an_error(
    information: RepositoryInformationServicer, root: Path
) -> None:
    config = skeleton(root) / "config"
    config.write_text("objectformat = blake2b")
    request = ObjectFormatRequest(repository=message())
    with pytest.raises(Internal) as caught:
        await information.ObjectFormat(request, CALL)
    assert caught.value.message == 'detecting object hash: unknown object format: "blake2b"'
    config.unlink()
    with pytest.raises(Internal) as caught:
        await information.ObjectFormat(request, CALL)
    assert caught.value.message == ("detecting object hash: open config: no such file or directory")


async def test_branches_are_told_from_other_references(
    information: RepositoryInformationServicer, bare: Bare
) -> None:
    request = HasLocalBranchesRequest(repository=message())
    bare.git("update-ref", "refs/tags/t", bare.commit())
    assert (await information.HasLocalBranches(request, CALL)).value is False
    bare.git("update-ref", "refs/heads/b", "refs/tags/t")
    assert (await information.HasLocalBranches(request, CALL)).value is True


async def test_information_leaves_out_what_is_not_there(
    information: RepositoryInformationServicer, bare: Bare
) -> None:
    bare.git("update-ref", "refs/heads/main", bare.commit())
    response = await information.RepositoryInfo(RepositoryInfoRequest(repository=message()), CALL)
    assert response.references == RepositoryInfoResponse.ReferencesInfo(
        loose_count=1, reference_backend=FILES
    )
    assert response.objects.loose_objects_count == 2
    assert response.objects.size == response.objects.recent_size > 0
    unset = {"commit_graph", "bitmap", "multi_pack_index", "alternates", "last_full_repack"}
    assert unset.isdisjoint(field.name for field, _ in response.ListFields())


async def test_information_tells_of_every_index(
    information: RepositoryInformationServicer, bare: Bare
) -> None:
    bare.git("update-ref", "refs/heads/main", bare.commit())
    bare.git("repack", "-adbq")
    bare.git("multi-pack-index", "write", "--bitmap")
    bare.git("commit-graph", "write", "--reachable", "--changed-paths")
    put(f"{bare.path}/.gitaly-full-repack-timestamp")
    put(f"{bare.path}/objects/info/alternates")
    response = await information.RepositoryInfo(RepositoryInfoRequest(repository=message()), CALL)
    assert response.objects.packfile_count == 1
    assert response.commit_graph.has_bloom_filters is True
    assert response.multi_pack_index.packfile_count == 1
    assert response.multi_pack_index_bitmap.version == 1
    assert response.last_full_repack.seconds > 1_700_000_000
    assert response.HasField("alternates")


@pytest.mark.parametrize(
    ("directory", "kind", "text"),
    [
        ("", InvalidRequest, "object directory path is not set"),
        ("objects/none", NotFound, 'object directory does not exist: "objects/none"'),
        ("HEAD/x", NotFound, 'object directory does not exist: "HEAD/x"'),
        (
            "../../outside",
            InvalidRequest,
            "not a valid relative path: relative path escapes root directory",
        ),
        (
            "../b.git/objects",
            InvalidRequest,
            "not a valid relative path: relative path escapes root directory",
        ),
    ],
)
async def test_only_object_directories_of_the_repository_have_a_size(
    information: RepositoryInformationServicer,
    bare: Bare,
    directory: str,
    kind: type[NodeError],
    text: str,
) -> None:
    request = GetObjectDirectorySizeRequest(repository=message(git_object_directory=directory))
    with pytest.raises(kind) as caught:
        await information.GetObjectDirectorySize(request, CALL)
    assert caught.value.message == text


async def test_the_size_of_an_object_directory_is_in_whole_kibibytes(
    information: RepositoryInformationServicer, bare: Bare
) -> None:
    put(f"{bare.path}/objects/tmp_objdir-incoming-x/pack/a", "x" * 5000)
    for directory, size in (("objects", 4), ("objects/../objects/tmp_objdir-incoming-x", 4)):
        request = GetObjectDirectorySizeRequest(repository=message(git_object_directory=directory))
        assert (await information.GetObjectDirectorySize(request, CALL)).size == size
