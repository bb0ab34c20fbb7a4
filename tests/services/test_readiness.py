"""What ReadinessCheck, health and ServerInfo say of a node that lacks something."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest

from gitaly._pb.server_pb2 import DiskStatisticsRequest, ReadinessCheckRequest, ServerInfoRequest
from gitaly.errors import NotFound
from gitaly.git import GitBinary, GitVersion
from gitaly.observe.log import make_logger
from gitaly.readiness import tell_health
from gitaly.services.health import HealthServicer
from gitaly.services.readiness import Readiness, all_there, can_run
from gitaly.services.server import ServerServicer
from gitaly.storage import Blocking, Pace, Patrol, Storages, ensure_filesystem_id
from gitaly.tasks import background
from tests.storage.mounts import make_read_only, silence, small_disk

CALL: Any = None  # none of these calls looks at it
BINARY = GitBinary("/usr/bin/git", GitVersion.parse("git version 2.39.5"))
FAST = Pace(calm_seconds=0.05, suspicious_seconds=0.02, patience_seconds=0.3)
PATIENCE_SECONDS = 30


class Node:
    """As much of one as answers here."""

    def __init__(self, root: Path, *names: str) -> None:
        pairs = [(name, str(root / name)) for name in names]
        for _, path in pairs:
            Path(path).mkdir(parents=True, exist_ok=True)
            ensure_filesystem_id(path)
        self.health, blocking = HealthServicer(), Blocking()
        self.patrol = Patrol(Storages(pairs), make_logger(io.BytesIO()), FAST)
        tell_health(self.patrol, self.health)
        git, paths = root / "git", {str(root / "hooks"): "hooks", str(root / "sock"): "intern"}
        git.touch(mode=0o755)
        for path in paths:
            Path(path).touch()
        checks = {"git": can_run(str(git)), "runtime directory": all_there(paths)}
        readiness = Readiness(self.patrol, self.health, checks, blocking)
        self.server = ServerServicer(
            self.patrol, readiness=readiness, binary=BINARY, blocking=blocking
        )

    async def failed_checks(self) -> dict[str, str]:
        response = await self.server.ReadinessCheck(ReadinessCheckRequest(), CALL)
        assert response.HasField("ok_response") != response.HasField("failure_response")
        return {
            failed.name: failed.error_message for failed in response.failure_response.failed_checks
        }

    async def until_not_ready(self) -> dict[str, str]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (failed := await self.failed_checks()):  # noqa: ASYNC110  # no event of ours
                await asyncio.sleep(0.01)
        return failed

    async def serving(self) -> dict[str, bool]:
        response = await self.health.List(HealthListRequest(), CALL)
        return {
            name: answer.status == HealthCheckResponse.SERVING
            for name, answer in response.statuses.items()
        }

    async def access(self) -> dict[str, tuple[bool, bool]]:
        response = await self.server.ServerInfo(ServerInfoRequest(), CALL)
        return {
            status.storage_name: (status.readable, status.writeable)
            for status in response.storage_statuses
        }


@asynccontextmanager
async def a_node(root: Path, *names: str) -> AsyncIterator[Node]:
    node = Node(root, *(names or ("default",)))
    await node.patrol.start()
    async with background(node.patrol.run()):
        yield node


async def test_a_node_that_lacks_nothing_is_ready(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        assert await node.failed_checks() == {}
        assert await node.serving() == {"": True, "storage/default": True}


async def test_a_storage_that_is_gone_is_named_and_takes_the_node_out_of_service(
    tmp_path: Path,
) -> None:
    async with a_node(tmp_path) as node:
        (tmp_path / "default").rename(tmp_path / "away")
        assert await node.until_not_ready() == {
            'storage "default"': "gone: No such file or directory"
        }
        assert await node.serving() == {"": False, "storage/default": False}
        assert await node.access() == {"default": (False, False)}


async def test_as_long_as_one_storage_can_be_read_the_node_serves(tmp_path: Path) -> None:
    async with a_node(tmp_path, "a", "b") as node:
        (tmp_path / "a").rename(tmp_path / "away")
        assert await node.until_not_ready() == {'storage "a"': "gone: No such file or directory"}
        assert await node.serving() == {"": True, "storage/a": False, "storage/b": True}


async def test_a_read_only_storage_serves_reads_and_says_that_it_takes_no_writes(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "default") as disk:
        async with a_node(tmp_path) as node:
            make_read_only(disk)
            assert await node.until_not_ready() == {
                'storage "default"': "read_only: Read-only file system"
            }
            assert await node.serving() == {"": True, "storage/default": False}
            assert await node.access() == {"default": (True, False)}


async def test_a_storage_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        with silence(tmp_path / "default"):
            assert await node.until_not_ready() == {
                'storage "default"': "hangs: the file system has not answered for 0.3 seconds"
            }
            assert await node.serving() == {"": False, "storage/default": False}
            assert await node.access() == {"default": (False, False)}
            disks = await node.server.DiskStatistics(DiskStatisticsRequest(), CALL)
            assert disks.storage_statuses[0].available == 0


async def test_what_a_node_works_with_is_missed(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        for name in ("git", "hooks", "sock"):
            (tmp_path / name).unlink()
        assert await node.failed_checks() == {
            "git": f"{tmp_path}/git cannot be run",
            "runtime directory": "removed since the start: hooks, intern",
        }


async def test_a_node_that_stops_is_not_ready(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node:
        node.health.drain()
        assert await node.failed_checks() == {"node": "the node is stopping: it takes no new calls"}
        assert await node.serving() == {"": False, "storage/default": False}


async def test_whoever_watches_health_is_told_of_each_change(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node, asyncio.timeout(PATIENCE_SECONDS):
        watching = node.health.Watch(HealthCheckRequest(service="storage/default"), CALL)
        told = [(await anext(watching)).status]
        away = (tmp_path / "default").rename(tmp_path / "away")
        told.append((await anext(watching)).status)
        away.rename(tmp_path / "default")
        told.append((await anext(watching)).status)
        await watching.aclose()
    assert told == [
        HealthCheckResponse.SERVING,
        HealthCheckResponse.NOT_SERVING,
        HealthCheckResponse.SERVING,
    ]


async def test_nobody_knows_the_health_of_other_services(tmp_path: Path) -> None:
    async with a_node(tmp_path) as node, asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(NotFound, match="unknown service"):
            await node.health.Check(HealthCheckRequest(service="storage/other"), CALL)
        watching = node.health.Watch(HealthCheckRequest(service="other"), CALL)
        assert (await anext(watching)).status == HealthCheckResponse.SERVICE_UNKNOWN
        await watching.aclose()
