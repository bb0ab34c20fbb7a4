"""Real git that pushes to a node in the name of somebody GitLab knows."""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.clients import ENVIRONMENT, Answer, finished, run_git
from tests.e2e.node_process import NodeProcess

URL = "ssh://x/y.git"


@dataclass(frozen=True, kw_only=True)
class Pusher:
    """A work tree whose branches can be pushed to one repository of a node."""

    node: NodeProcess
    work: Path
    relative_path: str
    gl_repository: str = "project-1"
    gl_id: str = "user-123"
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.node.storage / self.relative_path

    def environment(self) -> dict[str, str]:
        payload = {
            "repository": {
                "storageName": "default",
                "relativePath": self.relative_path,
                "glRepository": self.gl_repository,
                "glProjectPath": "group/project",
            },
            "glId": self.gl_id,
            "glUsername": "u",
        }
        return {
            **ENVIRONMENT,
            "GIT_SSH_COMMAND": "gitaly-ssh receive-pack",
            "GIT_SSH_VARIANT": "simple",
            "GITALY_ADDRESS": f"unix:{self.node.socket}",
            "GITALY_PAYLOAD": json.dumps(payload),
            **self.extra,
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["git", "push", *arguments[:-1], URL, *arguments[-1].split()],
            cwd=self.work,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    def push(self, *arguments: str) -> Answer:
        """`git push` with options and, last, refspecs in one word with spaces between."""
        return finished(self.start(*arguments))

    def references(self) -> dict[str, str]:
        lines = run_git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.path)
        return dict(line.split(" ") for line in lines.splitlines())

    def objects(self) -> int:
        """All objects in the object store, reachable or not."""
        found = run_git("cat-file", "--batch-all-objects", "--batch-check", cwd=self.path)
        return len(found.splitlines())

    def left(self) -> list[str]:
        """What should be gone as soon as a push is over."""
        return [x.name for x in (self.path / "objects").glob("*") if "incoming" in x.name]


def said(answer: Answer) -> list[str]:
    """What the pusher saw: the exit status, what the node said, then what git makes of it."""
    lines = [line.rstrip() for line in answer.stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("To ")]
    lines = [line for line in lines if not re.match(r" [ +] ?\w{7,}\.\.", line)]
    lines = [f" {line}" if line.startswith(("!", "*", "-")) else line for line in lines]
    remote = [line for line in lines if line.startswith("remote:")]
    rest = [line for line in lines if not line.startswith("remote:")]
    return [f"exit {answer.code}", *remote, *rest]


def make_history(path: Path) -> dict[str, str]:
    """Four branches one after the other, each with three objects of its own; their commits."""
    run_git("init", "--quiet", "--initial-branch=base", str(path))
    commits = {}
    for name in ("base", "b1", "b2", "b3"):
        run_git("checkout", "--quiet", "-B", name, cwd=path)
        (path / "file").write_text(f"{name}\n")
        run_git("add", "file", cwd=path)
        run_git("commit", "--quiet", "--message", name, cwd=path)
        commits[name] = run_git("rev-parse", "HEAD", cwd=path)
    return commits


def make_target(path: Path, work: Path) -> None:
    """A bare repository with main and side at base."""
    run_git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path))
    run_git("push", "--quiet", str(path), "base:main", "base:side", cwd=work)
