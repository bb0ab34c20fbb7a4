"""A history that tests can write down, and clients of the service."""

import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from gitaly.git import Git
from tests.git.support import ENV, GIT, Bare

T = TypeVar("T")
CALL: Any = None  # none of these calls looks at it
A_COMMITTER = "Jane Doe <jane@example.com> 1700000000 +0000"


@dataclass
class History:
    """Writes commits, each with its whole tree, a minute after the one before."""

    repository: Bare
    count: int = 0
    ids: dict[str, str] = field(default_factory=dict)

    def commit(
        self,
        message: str = "",
        files: dict[str, str] | None = None,
        *,
        parents: list[str] | None = None,
        branch: str = "main",
        author: str = "Jane Doe <jane@example.com>",
    ) -> str:
        """Write a commit on top of the branch, or of `parents`; its id."""
        self.count += 1
        message = message or f"commit {self.count}\n"
        if parents is None:
            tip = self.repository.git(
                "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}"
            )
            parents = [tip] if tip else []
        when = 1_700_000_000 + 60 * self.count
        env = {
            "GIT_AUTHOR_NAME": author.partition(" <")[0],
            "GIT_AUTHOR_EMAIL": author.partition("<")[2].rstrip(">"),
            "GIT_AUTHOR_DATE": f"{when} +0100",
            "GIT_COMMITTER_DATE": f"{when} +0100",
        }
        flags = [word for parent in parents for word in ("-p", parent)]
        tree = self.tree(files or {})
        made = self.repository.git("commit-tree", *flags, tree, data=message, env=env)
        self.repository.git("update-ref", f"refs/heads/{branch}", made)
        return made

    def tree(self, files: dict[str, str]) -> str:
        """A tree; "-> target" is a link, "submodule" a submodule, "#!…" can be executed."""
        lines, below = [], dict[str, dict[str, str]]()
        for path, text in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = text
                continue
            if text == "submodule":
                lines.append(f"160000 commit {'1' * 40}\t{name}\0")
                continue
            mode = (
                "120000" if text.startswith("-> ") else "100755" if text[:2] == "#!" else "100644"
            )
            blob = self.repository.git(
                "hash-object", "-w", "--stdin", data=text.removeprefix("-> ")
            )
            lines.append(f"{mode} blob {blob}\t{name}\0")
        lines += [f"040000 tree {self.tree(more)}\t{name}\0" for name, more in below.items()]
        return self.repository.git("mktree", "-z", "--missing", data="".join(lines))

    def raw(self, kind: str, content: bytes) -> str:
        """Any object, however broken."""
        done = subprocess.run(
            [
                *(*GIT, "--git-dir", self.repository.path),
                *("hash-object", "-t", kind, "-w", "--literally", "--stdin"),
            ],
            input=content,
            capture_output=True,
            check=True,
            env=ENV,
        )
        return done.stdout.decode().strip()


async def all_of(answers: AsyncIterator[T]) -> list[T]:
    """All messages of a stream."""
    return [answer async for answer in answers]


async def ids_of(answers: AsyncIterator[Any]) -> list[str]:
    """The ids of the commits in all messages."""
    return [commit.id for answer in await all_of(answers) for commit in answer.commits]


def recorded(git: Git, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each subcommand that git is started with from now on."""
    started: list[str] = []
    run = git.run

    def noting(subcommand: str, **options: Any) -> Any:
        started.append(subcommand)
        return run(subcommand, **options)

    monkeypatch.setattr(git, "run", noting)
    return started
