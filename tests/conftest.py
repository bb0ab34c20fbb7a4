from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pytest's own, with a short name: unix sockets have about 100 bytes for their path."""
    return tmp_path_factory.mktemp("t")
