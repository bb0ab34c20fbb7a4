"""Tokens that git keeps for its user. Source: git-credential(1), gitcredentials(7).

A node's token is stored as a password, for the protocol `gitaly` and the host with its port; for
a socket, for `gitaly+unix`, the host `localhost` and the socket as path.
"""

import os
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE, run

from gitaly.client.remote_url import RemoteUrl


@dataclass(frozen=True, slots=True)
class Credential:
    """What a helper of git, or the user, has answered; `text` is git's form of all of it."""

    secret: bytes
    text: bytes

    def approve(self) -> None:
        """The node let us in: let it be stored."""
        _git_credential("approve", self.text)

    def reject(self) -> None:
        """The node refused it: let it be forgotten."""
        _git_credential("reject", self.text)


def find_credential(url: RemoteUrl) -> Credential | None:
    """Ask git, which asks its helpers and then the user; None if nobody knows."""
    lines = [f"protocol={'gitaly+unix' if url.socket else 'gitaly'}", f"host={url.host}"]
    if url.socket:
        lines.append(f"path={url.socket.removeprefix('/')}")
    if url.user:
        lines.append(f"username={url.user}")
    if any("\n" in line or "\0" in line for line in lines):
        return None
    text = _git_credential("fill", os.fsencode("\n".join(lines) + "\n\n"))
    fields = dict(line.partition(b"=")[::2] for line in text.splitlines())
    secret = fields.get(b"password", b"")
    return Credential(secret, text + b"\n") if secret else None


def _git_credential(action: str, text: bytes) -> bytes:
    # its own errors would only confuse: we tell what went wrong
    asked = run(["git", "credential", action], check=False, input=text, stdout=PIPE, stderr=DEVNULL)
    return b"" if asked.returncode else asked.stdout
