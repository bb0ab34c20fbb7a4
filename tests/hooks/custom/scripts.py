"""Custom hooks for tests."""

from pathlib import Path


def write_hook(path: Path, text: str, *, mode: int = 0o755) -> Path:
    """A shell script; `text` follows its first line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path
