"""Nodes that a service manager looks after."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import big, certificate  # noqa: F401  # fixtures
from tests.supervision.service import Manager, Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes a node that is not started yet; nothing of it is left after the test."""
    made: list[Service] = []

    def make(**options: Any) -> Service:
        directory = tmp_path / f"n{len(made)}"
        directory.mkdir()
        made.append(Service(directory, **options))
        return made[-1]

    yield make
    for one in made:
        one.kill_all()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """It waits for messages from now on."""
    made = Manager(tmp_path / "notify")
    yield made
    made.close()
