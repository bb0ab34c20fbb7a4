"""File systems that are small enough to be filled."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts file systems of some bytes."""
    mounted: list[Path] = []

    def mount(size: int, name: str = "") -> Path:
        path = tmp_path / (name or f"disk{len(mounted)}")
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True
        )
        if done.returncode:
            pytest.skip("mounting a file system needs root")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)
