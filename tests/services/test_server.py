import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from gitaly._pb.server_pb2 import (
    DiskStatisticsRequest,
    ReadinessCheckRequest,
    ServerInfoRequest,
    ServerSignatureRequest,
)
from gitaly.errors import Internal
from gitaly.git import GitBinary, GitVersion, SigningKeyFiles
from gitaly.observe.log import make_logger
from gitaly.services.health import HealthServicer
from gitaly.services.readiness import Check, Readiness
from gitaly.services.server import ServerServicer
from gitaly.storage import Blocking, Patrol, Storages, ensure_filesystem_id, file_system_name
from tests.git.keys import gnupg, ssh_key

CALL: Any = None  # none of these calls looks at it
NOTHING: Mapping[str, Check] = MappingProxyType({})
BINARY = GitBinary("/usr/bin/git", GitVersion.parse("git version 2.39.5"))


def servicer(
    storages: Storages, signing_key_path: str = "", checks: Mapping[str, Check] = NOTHING
) -> ServerServicer:
    """Of a node that has not looked at its storages yet."""
    patrol, blocking = Patrol(storages, make_logger(io.BytesIO())), Blocking()
    return ServerServicer(
        patrol,
        readiness=Readiness(patrol, HealthServicer(), checks, blocking),
        binary=BINARY,
        blocking=blocking,
        signing_keys=SigningKeyFiles(signing_key_path),
    )


async def test_the_node_tells_versions_and_each_storage(storages: Storages, root: Path) -> None:
    identity = ensure_filesystem_id(str(root))
    response = await servicer(storages).ServerInfo(ServerInfoRequest(), CALL)
    assert (response.server_version, response.git_version) == ("18.9.0", "2.39.5")
    present, missing = response.storage_statuses
    assert (present.storage_name, present.readable, present.writeable) == ("default", True, True)
    assert (present.filesystem_id, present.replication_factor) == (identity, 1)
    assert present.fs_type != ""
    assert (missing.storage_name, missing.readable, missing.writeable) == ("missing", False, False)
    assert (missing.fs_type, missing.filesystem_id) == ("unknown", "")


async def test_mode_bits_decide_what_can_be_read_and_written(
    storages: Storages, root: Path
) -> None:
    for mode, expected in ((0o500, (True, False)), (0o200, (False, True)), (0o400, (False, False))):
        os.chmod(root, mode)
        response = await servicer(storages).ServerInfo(ServerInfoRequest(), CALL)
        status = response.storage_statuses[0]
        assert (status.readable, status.writeable) == expected
    os.chmod(root, 0o700)


def test_file_systems_have_gitalys_names() -> None:
    assert file_system_name("/dev/shm") == "TMPFS"
    assert file_system_name("/proc") == "unknown"
    assert file_system_name("/nonexistent") == "unknown"


async def test_disks_are_told_in_the_order_of_the_configuration(
    storages: Storages, root: Path
) -> None:
    response = await servicer(storages).DiskStatistics(DiskStatisticsRequest(), CALL)
    present, missing = response.storage_statuses
    status = os.statvfs(root)
    assert present.used > 0
    assert abs(present.available - status.f_bavail * status.f_frsize) < 1 << 30
    assert (missing.storage_name, missing.available, missing.used) == ("missing", 0, 0)


async def test_the_node_is_ready(storages: Storages) -> None:
    response = await servicer(storages).ReadinessCheck(ReadinessCheckRequest(), CALL)
    assert response.HasField("ok_response")


async def test_the_public_half_of_the_signing_key_is_told(
    storages: Storages, tmp_path: Path
) -> None:
    path = ssh_key(tmp_path)
    response = await servicer(storages, str(path)).ServerSignature(ServerSignatureRequest(), CALL)
    kind, public, _ = (tmp_path / "key.pub").read_bytes().split(b" ", 2)
    assert response.public_key == kind + b" " + public + b"\n"


async def test_without_a_signing_key_there_is_no_public_half(storages: Storages) -> None:
    response = await servicer(storages).ServerSignature(ServerSignatureRequest(), CALL)
    assert response.public_key == b""


async def test_a_signing_key_that_cannot_be_used_is_an_error_without_its_path(
    storages: Storages, tmp_path: Path
) -> None:
    with pytest.raises(Internal) as caught:
        await servicer(storages, str(tmp_path / "key")).ServerSignature(
            ServerSignatureRequest(), CALL
        )
    assert caught.value.message == (
        "failed to parse signing key: open file: no such file or directory"
    )


async def test_an_openpgp_key_is_not_told(storages: Storages, tmp_path: Path) -> None:
    path = tmp_path / "key"
    with gnupg(tmp_path / "ring") as ring:
        path.write_bytes(ring.exported(ring.key("ed25519")))
    with pytest.raises(Internal) as caught:
        await servicer(storages, str(path)).ServerSignature(ServerSignatureRequest(), CALL)
    assert caught.value.message == "failed to fetch public key: gpg public key not implemented"
