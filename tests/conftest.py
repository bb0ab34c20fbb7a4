import gc
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What was imported and collected stays: no collection of garbage need look at it again.

    There are a million such objects, and tests that ask for a full collection, since a handle of
    libgit2 closes its packs when it is collected, ask for it thousands of times.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pytest's own, with a short name: unix sockets have about 100 bytes for their path."""
    return tmp_path_factory.mktemp("t")
