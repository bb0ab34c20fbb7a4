import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Shorter than pytest's: a path of a socket has about a hundred characters."""
    path = Path(tempfile.mkdtemp(prefix="node"))
    yield path
    shutil.rmtree(path)
