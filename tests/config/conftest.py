import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.good import GOOD


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A configuration without any problem; its directories and files exist."""
    (tmp_path / "repositories").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "secret").write_text("s3cret")
    return GOOD.replace("<root>", str(tmp_path))


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Makes an executable shell script and gives its path."""

    def make(body: str) -> str:
        path = tmp_path / "generate"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(stat.S_IRWXU)
        return str(path)

    return make
