"""A node looks at its storages all the time, and says what changes."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from gitaly._pb.shared_pb2 import Repository
from gitaly.errors import FailedPrecondition, Unavailable
from gitaly.observe.log import Logger
from gitaly.storage import (
    Pace,
    Patrol,
    Problem,
    Sight,
    Storage,
    Storages,
    ensure_filesystem_id,
)
from gitaly.tasks import background
from tests.storage.mounts import make_read_only, make_writable, silence, small_disk
from tests.transport.wires import until as eventually

PATIENCE_SECONDS = 30
FAST = Pace(calm_seconds=0.05, suspicious_seconds=0.02, patience_seconds=0.3)
REPOSITORY = Repository(storage_name="default", relative_path="a.git")


@asynccontextmanager
async def on_patrol(storages: Storages, logger: Logger) -> AsyncIterator[Patrol]:
    patrol = Patrol(storages, logger, FAST)
    await patrol.start()
    async with background(patrol.run()):
        yield patrol


async def until(patrol: Patrol, happened: Callable[[], bool]) -> None:
    """Wait for a change after which it is so."""
    changed = asyncio.Event()
    patrol.on_change(changed.set)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not happened():
            changed.clear()
            await changed.wait()


def problems(patrol: Patrol) -> dict[str, str]:
    return {
        storage.name: health.problem.value if health.problem else ""
        for storage, health in patrol.health.items()
    }


@pytest.fixture
def one(root: Path) -> Storages:
    ensure_filesystem_id(str(root))
    return Storages([("default", str(root)), ("same", str(root))])


def told(log: structlog.testing.LogCapture, *events: str) -> list[dict[str, object]]:
    return [dict(entry) for entry in log.entries if entry["event"] in events]


UNHEALTHY = "a storage is not healthy"
HEALTHY = "a storage is healthy again"


async def test_a_storage_that_is_missing_at_the_start_is_told_at_once(
    storages: Storages, logger: Logger, log: structlog.testing.LogCapture, root: Path
) -> None:
    async with on_patrol(storages, logger) as patrol:
        assert problems(patrol) == {"default": "", "missing": "gone"}
    assert told(log, UNHEALTHY) == [
        {
            "event": UNHEALTHY,
            "log_level": "error",
            "storage": "missing",
            "storage_path": f"{root}-missing",
            "problem": "gone",
            "error": "No such file or directory",
        }
    ]


async def test_one_that_goes_and_comes_back_is_told_once_each_time(
    one: Storages, logger: Logger, log: structlog.testing.LogCapture, root: Path
) -> None:
    async with on_patrol(one, logger) as patrol:
        os.rename(root, away := root.with_name("away"))
        await until(patrol, lambda: problems(patrol) == {"default": "gone", "same": "gone"})
        os.rename(away, root)
        await until(patrol, lambda: problems(patrol) == {"default": "", "same": ""})
    bad, good = told(log, UNHEALTHY, HEALTHY)
    assert (bad["storage"], bad["problem"]) == ("default, same", "gone")
    assert (good["event"], good["problem"]) == (HEALTHY, "gone")
    assert isinstance(good["seconds"], float)


async def test_a_file_system_that_hangs_costs_the_node_nothing_and_its_calls_are_refused(
    one: Storages, logger: Logger, log: structlog.testing.LogCapture, root: Path
) -> None:
    async with on_patrol(one, logger) as patrol:
        with silence(root):
            await until(patrol, lambda: problems(patrol)["default"] == "hangs")
            with pytest.raises(Unavailable, match='storage "default" is not available'):
                one.existing(REPOSITORY)
        await until(patrol, lambda: problems(patrol)["default"] == "")
        assert not one.exists(REPOSITORY)
    bad, good = told(log, UNHEALTHY, HEALTHY)
    assert bad["error"] == "the file system has not answered for 0.3 seconds"
    assert good["problem"] == "hangs"


async def test_a_file_system_that_hangs_is_seen_also_while_the_loop_stands_still(
    one: Storages, logger: Logger, root: Path
) -> None:
    async with on_patrol(one, logger) as patrol:
        [storage, _] = one
        before = patrol.sight(storage)
        with silence(root):
            await asyncio.sleep(2 * FAST.calm_seconds)  # a look has begun
            seen = hanging(patrol, storage)
        await eventually(lambda: patrol.sight(storage).problem is None)
    assert before.problem is None
    assert before.file_system != ""
    assert before.space.size_bytes > 0
    assert seen.error == "the file system has not answered for 0.3 seconds"


def hanging(patrol: Patrol, storage: Storage) -> Sight:
    """What is known as soon as it is known to hang. Blocks, and with it the event loop."""
    end = time.monotonic() + PATIENCE_SECONDS
    while patrol.sight(storage).problem is not Problem.HANGS:
        assert time.monotonic() < end
        time.sleep(0.02)
    return patrol.sight(storage)


async def test_an_empty_mount_point_is_not_taken_for_a_storage_without_repositories(
    one: Storages, logger: Logger, root: Path
) -> None:
    async with on_patrol(one, logger) as patrol:
        os.rename(root, root.with_name("away"))
        os.mkdir(root)
        await until(patrol, lambda: problems(patrol)["default"] == "replaced")
        with pytest.raises(Unavailable, match='storage "default" is not available'):
            one.existing(REPOSITORY)


async def test_who_would_write_to_a_read_only_storage_is_told_before_git_is(
    root: Path, logger: Logger
) -> None:
    with small_disk(root):
        ensure_filesystem_id(str(root))
        make_repository(root / "a.git")
        storages = Storages([("default", str(root))])
        async with on_patrol(storages, logger) as patrol:
            new = Repository(storage_name="default", relative_path="new.git")
            storages.creatable(new)
            storages.changeable(REPOSITORY)
            make_read_only(root)
            await until(patrol, lambda: problems(patrol)["default"] == "read_only")
            with pytest.raises(FailedPrecondition, match='storage "default" is read-only'):
                storages.creatable(new)
            with pytest.raises(FailedPrecondition, match='storage "default" is read-only'):
                storages.changeable(REPOSITORY)
            storages.existing(REPOSITORY)
            make_writable(root)
            await until(patrol, lambda: problems(patrol)["default"] == "")
            storages.changeable(REPOSITORY)


def make_repository(path: Path) -> None:
    for name in ("objects", "refs"):
        (path / name).mkdir(parents=True)
    (path / "HEAD").touch()


async def test_file_systems_that_make_trouble_are_named_once(
    logger: Logger, log: structlog.testing.LogCapture
) -> None:
    async with on_patrol(Storages([("a", "/dev/shm"), ("b", "/dev/shm")]), logger):
        pass
    (warning,) = told(log, "a storage is on a file system that is not made for it")
    assert (warning["log_level"], warning["storage"]) == ("warning", "a, b")
    assert warning["file_system"] == "TMPFS"
    assert warning["reason"] == "it forgets everything at a reboot"


async def test_prometheus_is_told_what_was_seen_last(storages: Storages, logger: Logger) -> None:
    registry = CollectorRegistry()
    async with on_patrol(storages, logger) as patrol:
        registry.register(patrol)

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(f"gitaly_storage_{name}", labels)

        assert value("healthy", storage="default") == 1
        assert value("healthy", storage="missing") == 0
        assert value("problem", storage="missing", problem="gone") == 1
        assert value("problem", storage="missing", problem="hangs") == 0
        assert value("problem", storage="default", problem="gone") == 0
        assert (value("available_bytes", storage="default") or 0) > 0
        assert (value("size_bytes", storage="default") or 0) > 0
        assert (value("probe_seconds", storage="default") or 0) > 0
