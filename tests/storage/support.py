"""Storages with real repositories for the tests of the storage room and the services."""

import os
from pathlib import Path
from typing import Any

from gitaly._pb import shared_pb2
from gitaly.storage import Phase, Vote, VoteFailed


def message(
    relative_path: str = "a.git",
    storage: str = "default",
    **more: Any,  # further fields of the message, by name
) -> shared_pb2.Repository:
    return shared_pb2.Repository(storage_name=storage, relative_path=relative_path, **more)


def skeleton(root: Path, relative_path: str = "a.git") -> Path:
    """What counts as a repository, with nothing in it."""
    path = root / relative_path
    (path / "objects").mkdir(parents=True)
    (path / "refs").mkdir()
    (path / "HEAD").write_text("ref: refs/heads/main\n")
    (path / "config").write_text("[core]\n\tbare = true\n")
    return path


def entries(directory: Path) -> list[str]:
    """Everything below it, relative, sorted; directories end in a slash."""
    found = []
    for parent, directories, files in os.walk(directory):
        base = os.path.relpath(parent, directory)
        found += [os.path.normpath(f"{base}/{name}") + "/" for name in directories]
        found += [os.path.normpath(f"{base}/{name}") for name in files]
    return sorted(found)


def votes_of(*, failing: Phase | None = None) -> tuple[list[tuple[Phase, bytes]], Vote]:
    """A list of what is voted, and the voter; in one phase the others may not agree."""
    votes: list[tuple[Phase, bytes]] = []

    async def vote(phase: Phase, digest: bytes) -> None:
        votes.append((phase, digest))
        if phase is failing:
            raise VoteFailed("transaction was aborted")

    return votes, vote


def is_there(path: str) -> bool:
    """Whether anything is at a path."""
    return os.path.lexists(path)


def put(path: str, text: str = "") -> None:
    """Write a file, and the directories above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(text)
