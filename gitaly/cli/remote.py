"""`git-remote-gitaly`: what git runs for URLs that begin with gitaly://.

    git clone gitaly://127.0.0.1:8075/default/demo.git
    git clone gitaly+tls://node.example.com/default/demo.git
    git clone gitaly+unix:///run/gitaly.sock:/default/demo.git
    git clone gitaly::tls://node.example.com:9999/default/demo.git

The forms of URLs are described in `gitaly.client.remote_url`. A user name in them is used only to
look up the token. The environment may say:

    GITALY_TOKEN  the node's token. Without it, git is asked for a credential (protocol gitaly, host
                  with port) as soon as the node asks for a token; the password is the token.
    GL_ID         who pushes; `user-0`, nobody whom GitLab knows, if not given: a node of its own
                  lets everybody push who has a token, and one of GitLab shall refuse
    GL_USERNAME   who pushes, for hooks; the name of the system's user if not given
    GL_REPOSITORY what GitLab calls the repository
    SSL_CERT_FILE, SSL_CERT_DIR  whom to trust; the system's certificates otherwise

git's own protocol.version decides which version fetches speak. Errors are one line on standard
error, exit status 128. Source: gitremote-helpers(7), of which only `connect` is needed.
"""

import asyncio
import os
import pwd
import secrets
import subprocess
import sys
from typing import Final, NoReturn

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # standard error is the user's
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # children come from posix_spawn or vfork

import grpc

from gitaly._pb.repository_pb2 import RepositoryExistsRequest, RepositoryExistsResponse
from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.ssh_pb2 import (
    SSHReceivePackRequest,
    SSHUploadArchiveRequest,
    SSHUploadPackWithSidechannelRequest,
)
from gitaly.client import (
    CallFailed,
    NodeConnection,
    OutputClosed,
    dial,
    receive_pack,
    upload_archive,
    upload_pack,
)
from gitaly.client.credentials import find_credential
from gitaly.client.remote_url import RemoteUrl, parse_remote_url
from gitaly.errors import NodeError, NotFound

EXISTS: Final = "/gitaly.RepositoryService/RepositoryExists"
REFUSED: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def main() -> NoReturn:
    """The console script."""
    if len(sys.argv) != 3:
        sys.exit("usage: git-remote-gitaly REMOTE URL; git runs it for you")
    shown = ""
    try:
        url = parse_remote_url(sys.argv[2])
        shown = f"{url.shown}: "
        status = _obey(url)
    except KeyboardInterrupt:
        status = 130
    except OutputClosed:
        status = 128  # git is gone, and nobody is left to be told
    except (NodeError, OSError) as error:
        print(f"fatal: {shown}{error}", file=sys.stderr)
        status = 128
    sys.exit(status)


def _obey(url: RemoteUrl) -> int:
    """Do what git says, line by line, up to `connect`; the exit status."""
    while line := _read_line():
        command, _, argument = line.partition(" ")
        if command == "capabilities":
            _answer("connect\n\n")
        elif command == "connect":
            return asyncio.run(_Helper(url, argument).connect())
        else:
            raise NodeError(f"git asks for something unknown: {line}")
    return 0


class _Helper:
    """One connection that git has asked for."""

    def __init__(self, url: RemoteUrl, service: str) -> None:
        self._url = url
        self._service = service
        self._answered = False  # from then on, all bytes belong to git

    async def connect(self) -> int:
        """Serve it to its end. Raises NodeError, OutputClosed."""
        given = os.environb.get(b"GITALY_TOKEN", b"")
        try:
            return await self._attempt(given)
        except CallFailed as error:
            if given or error.code is not grpc.StatusCode.UNAUTHENTICATED or self._answered:
                raise
            credential = find_credential(self._url)
            if credential is None:
                raise
        try:
            return await self._attempt(credential.secret)
        except CallFailed as error:
            if error.code in REFUSED and not self._answered:
                credential.reject()
            raise
        finally:
            if self._answered:
                credential.approve()

    async def _attempt(self, secret: bytes) -> int:
        metadata = [
            ("x-gitlab-client-name", "git-remote-gitaly"),
            ("x-gitlab-correlation-id", secrets.token_hex(16)),
        ]
        async with dial(self._url.address, secret, metadata=metadata) as node:
            return await self._serve(node)

    async def _serve(self, node: NodeConnection) -> int:
        repository = Repository(
            storage_name=self._url.storage_name,
            relative_path=self._url.relative_path,
            gl_repository=_given("GL_REPOSITORY"),
        )
        if self._service == "git-upload-pack":
            request = SSHUploadPackWithSidechannelRequest(
                repository=repository, git_protocol=_git_protocol()
            )
            await upload_pack(node, request, self._connected)
            return 0
        if self._service == "git-receive-pack":
            push = SSHReceivePackRequest(
                repository=repository,
                gl_id=_given("GL_ID") or "user-0",
                gl_username=_given("GL_USERNAME") or _user(),
                gl_repository=repository.gl_repository,
                git_protocol=_git_protocol() if _git_protocol() != "version=2" else "",
            )
            return await receive_pack(node, push, self._connected)
        if self._service == "git-upload-archive":
            await _require(node, repository)
            self._connected()
            return await upload_archive(node, SSHUploadArchiveRequest(repository=repository))
        raise NodeError(f"git asks for an unknown service: {self._service}")

    def _connected(self) -> None:
        """Tell git that the other side is there; what follows is its."""
        if not self._answered:
            self._answered = True
            _answer("\n")


async def _require(node: NodeConnection, repository: Repository) -> None:
    """Raise now what would be too late once git has been told that all is well."""
    try:
        answer = await node.unary(
            EXISTS, RepositoryExistsRequest(repository=repository), RepositoryExistsResponse
        )
    except CallFailed as error:
        if error.code is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        return
    if not answer.exists:
        raise NotFound("repository not found")


def _git_protocol() -> str:
    """What to set GIT_PROTOCOL to at the node: git tells its helpers nothing."""
    question = ["git", "config", "--get", "protocol.version"]
    asked = subprocess.run(question, check=False, stdout=subprocess.PIPE, text=True)
    version = asked.stdout.strip() or "2"
    return f"version={version}" if version in ("1", "2") else ""


def _given(name: str) -> str:
    """A variable; in requests only UTF-8 has a place."""
    return os.environb.get(os.fsencode(name), b"").decode(errors="replace")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _read_line() -> str:
    """A line of git, without reading ahead; empty at the end."""
    line = b""
    while (character := os.read(0, 1)) not in (b"", b"\n"):
        line += character
    return os.fsdecode(line)


def _answer(text: str) -> None:
    try:
        os.write(1, text.encode())
    except BrokenPipeError as error:
        raise OutputClosed from error
