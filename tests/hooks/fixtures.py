import io
import json
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gitaly.git import PosixSpawner, Processes, PrometheusCommandMetrics
from gitaly.hooks.custom import CustomHooks
from gitaly.observe.log import Logger, make_logger
from gitaly.storage import Blocking, Repository
from tests.git.support import newcomers, open_descriptors, run_git


class Collected:
    """What hooks have printed."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.err = bytearray()

    async def stdout(self, data: bytes) -> None:
        self.out += data

    async def stderr(self, data: bytes) -> None:
        self.err += data


class Log:
    """What a logger has written."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self.logger: Logger = make_logger(self._file, format="json")

    def lines(self, message: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self._file.getvalue().splitlines()]
        return [line for line in found if line["msg"] == message]


@pytest.fixture
def journal() -> Log:
    return Log()


@pytest.fixture
async def blocking() -> AsyncIterator[Blocking]:
    with ThreadPoolExecutor(2) as executor:
        yield Blocking(executor)


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    """Afterwards nothing of it is left, neither processes nor descriptors."""
    newcomers.start()
    before = len(open_descriptors())
    processes = Processes(
        PosixSpawner(), PrometheusCommandMetrics(CollectorRegistry(), ""), grace_seconds=0.3
    )
    yield processes
    await processes.aclose()
    assert newcomers.left() == []
    assert len(open_descriptors()) <= before


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A bare repository in a storage of its own."""
    path = tmp_path / "storage" / "a.git"
    run_git("init", "--bare", "--quiet", "--template=", str(path))
    return Repository(
        storage_name="default",
        storage_path=str(tmp_path / "storage"),
        relative_path="a.git",
        path=str(path),
        gl_repository="project-1",
        gl_project_path="group/project",
    )


@pytest.fixture
def global_hooks(tmp_path: Path) -> Path:
    path = tmp_path / "global hooks"
    path.mkdir()
    return path


MakeHooks = Callable[..., CustomHooks]


@pytest.fixture
def make_hooks(
    processes: Processes, blocking: Blocking, journal: Log, global_hooks: Path
) -> MakeHooks:
    def make(seconds: float = 20) -> CustomHooks:
        return CustomHooks(
            processes,
            blocking,
            journal.logger,
            environment={"PATH": os.environ["PATH"], "HOME": "/h", "SECRET": "of the node"},
            git_directory="/opt/git/bin",
            global_directory=str(global_hooks),
            seconds=seconds,
        )

    return make
