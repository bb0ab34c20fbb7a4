"""Repositories whose trees are written as dictionaries."""

import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from gitaly._pb.diff_pb2 import CommitDiffRequest, CommitDiffResponse
from gitaly.services.diff import DiffServicer
from tests.git.diffs.support import write_tree
from tests.git.support import Bare, run_git
from tests.storage.support import message

CALL: Any = None  # none of these calls looks at it
Files = Mapping[str, str | bytes | tuple[str, str]]


class Asked:
    """The repository that is asked about."""

    def __init__(self, root: Path, object_format: str) -> None:
        path = str(root / "a.git")
        run_git(
            *("init", "--bare", "--quiet", "--template=", f"--object-format={object_format}"), path
        )
        self.bare = Bare(path)
        self.message = message()
        self.null = "0" * (40 if object_format == "sha1" else 64)

    def commit(self, files: Files) -> str:
        """A root commit of these files: content, or mode and content, by path."""
        return write_tree(self.bare, {x.encode(): _entry(y) for x, y in files.items()})

    def head(self, files: Files) -> str:
        """Such a commit, to which HEAD points."""
        commit = self.commit(files)
        self.bare.git("update-ref", "refs/heads/main", commit)
        return commit

    def child(self, files: Files, *parents: str, subject: str = "child") -> str:
        """A commit with parents."""
        tree = self.bare.git("rev-parse", self.commit(files) + "^{tree}")
        flags = [word for parent in parents for word in ("-p", parent)]
        return self.bare.git("commit-tree", "-m", subject, *flags, tree)

    def blob(self, content: str) -> str:
        return self.bare.git("hash-object", "-w", "--stdin", data=content)

    def raw(self, kind: str, data: bytes) -> str:
        """Any object."""
        return (
            subprocess.run(
                ["git", "--git-dir", self.bare.path, "hash-object", "-w", "--stdin", "-t", kind],
                input=data,
                check=True,
                capture_output=True,
            )
            .stdout.decode()
            .strip()
        )

    def id(self, revision: str) -> str:
        return self.bare.git("rev-parse", revision)


def _entry(value: str | bytes | tuple[str, str]) -> tuple[str, bytes]:
    if isinstance(value, tuple):
        return value[0], value[1].encode()
    return "100644", value if isinstance(value, bytes) else value.encode()


async def commit_diff(
    servicer: DiffServicer, asked: Asked, left: str, right: str, **more: Any
) -> list[CommitDiffResponse]:
    request = CommitDiffRequest(
        repository=asked.message, left_commit_id=left, right_commit_id=right, **more
    )
    encoded = await everything(servicer.CommitDiff(request, CALL))
    return [CommitDiffResponse.FromString(one) for one in encoded]


async def everything(responses: AsyncIterator[Any]) -> list[Any]:
    """The messages of a stream, which may have several at hand at a time."""
    found: list[Any] = []
    async for given in responses:
        found += given if isinstance(given, list) else [given]
    return found


async def stream_of(*requests: Any) -> AsyncIterator[Any]:
    for request in requests:
        yield request
