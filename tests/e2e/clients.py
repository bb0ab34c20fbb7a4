"""Real clients of git, on both ways to a node: gitaly-ssh, and git-remote-gitaly."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.e2e.node_process import BIN, NodeProcess

SECONDS: Final = 60
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Jane Doe",
    "GIT_AUTHOR_EMAIL": "jane@example.com",
    "GIT_COMMITTER_NAME": "Jane Doe",
    "GIT_COMMITTER_EMAIL": "jane@example.com",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}
SERVICES: Final = {"push": "receive-pack", "archive": "upload-archive"}


@dataclass(frozen=True)
class Answer:
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """How git reaches one repository of a node."""

    node: NodeProcess
    program: str = "helper"  # "helper", "ssh"
    listener: str = "tcp"  # "tcp", "tls", "unix"
    repository: str = "demo.git"
    version: int = 2
    token: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)  # environment

    @property
    def path(self) -> Path:
        """The repository itself."""
        return self.node.storage / self.repository

    @property
    def url(self) -> str:
        if self.program == "ssh":
            return "ssh://gitaly/internal.git"
        if self.listener == "unix":
            return f"gitaly::unix://{self.node.socket}:/default/{self.repository}"
        scheme = {"tcp": "gitaly://", "tls": "gitaly::tls://"}[self.listener]
        return f"{scheme}{self._host}/default/{self.repository}"

    @property
    def _host(self) -> str:
        return f"127.0.0.1:{self.node.tls if self.listener == 'tls' else self.node.tcp}"

    @property
    def address(self) -> str:
        if self.listener == "unix":
            return f"unix:{self.node.socket}"
        return f"{self.listener}://{self._host}"

    def environment(self, service: str = "upload-pack") -> dict[str, str]:
        found = {**ENVIRONMENT, **self.extra}
        if self.token:
            found["GITALY_TOKEN"] = self.token
        if self.listener == "tls":
            found.setdefault("SSL_CERT_FILE", str(self.node.certificate))
        if self.program == "ssh":
            found |= {
                "GIT_SSH_COMMAND": f"gitaly-ssh {service}",
                "GIT_SSH_VARIANT": "simple",
                "GITALY_ADDRESS": self.address,
                "GITALY_PAYLOAD": self._payload(service),
            }
        return found

    def _payload(self, service: str) -> str:
        payload: dict[str, object] = {
            "repository": {"storageName": "default", "relativePath": self.repository}
        }
        if service == "receive-pack":
            payload["glId"] = "user-1"
        if service == "upload-pack" and self.version == 2:
            payload["gitProtocol"] = "version=2"
        return json.dumps(payload)

    def start(
        self, *arguments: str, cwd: Path | str = "/", service: str = ""
    ) -> subprocess.Popen[bytes]:
        """git, as the leader of a process group."""
        service = service or SERVICES.get(arguments[0], "upload-pack")
        return subprocess.Popen(
            ["git", "-c", f"protocol.version={self.version}", *arguments],
            cwd=cwd,
            env=self.environment(service),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    def try_git(self, *arguments: str, cwd: Path | str = "/") -> Answer:
        return finished(self.start(*arguments, cwd=cwd))

    def git(self, *arguments: str, cwd: Path | str = "/") -> str:
        """What git prints; it must succeed."""
        answer = self.try_git(*arguments, cwd=cwd)
        assert answer.code == 0, answer.stderr
        return answer.stdout

    def clone(self, directory: Path, *arguments: str) -> Path:
        self.git("clone", "--quiet", *arguments, self.url, str(directory))
        return directory

    def refs(self) -> dict[str, str]:
        """Refs of the repository, seen directly: name to object id."""
        lines = run_git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.path)
        return dict(line.split(" ") for line in lines.splitlines())


def finished(process: subprocess.Popen[bytes]) -> Answer:
    """What a client says at its end, which must come."""
    out, err = process.communicate(timeout=SECONDS)
    return Answer(process.returncode, out.decode().strip(), err.decode(errors="replace").strip())


def run_git(*arguments: str, cwd: Path | str = "/", data: bytes | None = None) -> str:
    """git without a node; it must succeed."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=dict(ENVIRONMENT),
        input=data,
        capture_output=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def commit(work: Path, message: str, name: str = "file") -> str:
    """Change a file in a work tree, commit it, and return the commit's id."""
    (work / name).write_text(f"{message}\n")
    run_git("add", name, cwd=work)
    run_git("commit", "--quiet", "--message", message, cwd=work)
    return run_git("rev-parse", "HEAD", cwd=work)


def is_sound(repository: Path) -> bool:
    """Whether git finds nothing wrong with a repository, dangling objects included."""
    return run_git("fsck", "--full", "--strict", "--no-progress", cwd=repository) == ""
