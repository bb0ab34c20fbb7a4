"""Repositories for the tests of the git room, made by git itself, and a look into /proc."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

GIT = (
    "git",
    *("-c", "user.name=Jane Doe"),
    *("-c", "user.email=jane@example.com"),
    *("-c", "protocol.file.allow=always"),
    *("-c", "init.defaultBranch=main"),
)
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


@dataclass(frozen=True)
class Bare:
    """A repository in the form that the git room wants."""

    path: str
    storage_name: str = "default"
    relative_path: str = "a.git"
    git_object_directory: str = ""
    git_alternate_object_directories: tuple[str, ...] = ()

    def git(self, *args: str, data: str = "", env: dict[str, str] | None = None) -> str:
        """Run git here and return what it prints, stripped."""
        return run_git("--git-dir", self.path, *args, data=data, env=env)

    def commit(self, message: str = "one", *parents: str) -> str:
        """Write a commit of the empty tree and return its id."""
        tree = self.git("mktree")
        flags = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", "-m", message, *flags, tree)


def run_git(*args: str, data: str = "", env: dict[str, str] | None = None) -> str:
    """Run git and return what it prints, stripped."""
    return (
        subprocess.run(
            [*GIT, *args],
            input=data.encode(),
            check=True,
            capture_output=True,
            env=ENV | (env or {}),
        )
        .stdout.decode(errors="surrogateescape")
        .strip()
    )


def bare(directory: Path, *flags: str) -> Bare:
    """An empty bare repository."""
    path = directory / "a.git"
    run_git("init", "--bare", "--quiet", *flags, str(path))
    return Bare(str(path))


def children_of(pid: int) -> list[int]:
    """Its children, zombies too."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children += map(int, (task / "children").read_text().split())
        except FileNotFoundError:  # a thread that has just ended
            continue
    return children


def open_descriptors() -> list[str]:
    """What the descriptors of this process lead to."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # the one that reads the directory
            continue
    return sorted(kind.split(":")[0] for kind in found)


class Newcomers:
    """Children of this process since a moment; nodes of other tests may be running beside them."""

    def __init__(self) -> None:
        self._strangers: set[int] = set()

    def start(self) -> None:
        """Who is here now does not count."""
        self._strangers = set(children_of(os.getpid()))

    def left(self) -> list[int]:
        """Who came and has not gone."""
        return sorted(set(children_of(os.getpid())) - self._strangers)


newcomers = Newcomers()
