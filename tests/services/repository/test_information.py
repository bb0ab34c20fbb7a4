from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import (
    HasLocalBranchesRequest,
    ObjectFormatRequest,
    RepositoryInfoRequest,
    RepositoryInfoResponse,
    RepositorySizeRequest,
)
from gitaly._pb.shared_pb2 import OBJECT_FORMAT_SHA1, OBJECT_FORMAT_SHA256, ObjectFormat
from gitaly.errors import Internal
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
