import http.server
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.remote_pb2 import FindRemoteRepositoryRequest, FindRemoteRootRefRequest
from gitaly.errors import Internal, InvalidRequest, NodeError, NotFound
from gitaly.git import Git
from gitaly.services.remote import RemoteServicer
from gitaly.storage import Storages
from tests.e2e.node_process import command_line, descendants_of
from tests.git.support import Bare, run_git
from tests.storage.support import message

CALL: Any = None  # none of these calls looks at it
SECRET = "Basic c2VjcmV0"


class Web(http.server.ThreadingHTTPServer):
    """Serves the storage to git over the dumb protocol; remembers headers and command lines."""

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Files, directory=str(directory)))
        self.headers: list[str] = []
        self.command_lines: list[bytes] = []
        self.redirects_to = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Files(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Web)
        self.server.headers.append(self.headers.get("Authorization", ""))
        self.server.command_lines += map(command_line, descendants_of(os.getpid()))
        if self.server.redirects_to:
            self.send_response(302)
            self.send_header("Location", self.server.redirects_to + self.path)
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(root: Path) -> Iterator[Web]:
    server = Web(root)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def remote(storages: Storages, git: Git) -> RemoteServicer:
    return RemoteServicer(storages, git)


@pytest.fixture
def served(root: Path) -> Bare:
    """A repository with the branches main and trunk; HEAD means trunk."""
    path = str(root / "served.git")
    run_git("init", "--bare", "--quiet", "--template=", "--initial-branch=trunk", path)
    repository = Bare(path)
    for branch in ("main", "trunk"):
        repository.git("update-ref", f"refs/heads/{branch}", repository.commit(branch))
    repository.git("update-server-info")
    return repository


async def exists(remote: RemoteServicer, url: str) -> bool:
    request = FindRemoteRepositoryRequest(remote=url, storage_name="default")
    return (await remote.FindRemoteRepository(request, CALL)).exists


async def root_ref(remote: RemoteServicer, url: str, **more: Any) -> str:
    request = FindRemoteRootRefRequest(repository=message(), remote_url=url, **more)
    return (await remote.FindRemoteRootRef(request, CALL)).ref


async def test_a_remote_repository_exists_if_its_head_is_born(
    remote: RemoteServicer, bare: Bare, served: Bare, web: Web
) -> None:
    bare.git("update-server-info")
    assert await exists(remote, f"{web.url}/served.git") is True
    assert await exists(remote, served.path) is True
    for other in (f"{web.url}/a.git", f"{web.url}/none.git", "http://127.0.0.1:1/x", "nonsense"):
        assert await exists(remote, other) is False


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("", InvalidRequest, "empty remote can't be checked."),
        ("a\0b", InvalidRequest, "remote contains a null byte"),
        ("http://" + "x" * 200_000, InvalidRequest, "remote is too long"),
        (
            "--upload-pack=touch x",
            Internal,
            'error executing git command: positional arg "--upload-pack=touch x" '
            "cannot start with dash '-': invalid argument",
        ),
    ],
)
async def test_what_is_no_remote_is_refused(
    remote: RemoteServicer, url: str, kind: type[NodeError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        await exists(remote, url)
    assert caught.value.message == text


async def test_passwords_in_urls_are_not_on_the_command_line(
    remote: RemoteServicer, served: Bare, web: Web
) -> None:
    url = web.url.replace("//", "//user:geheim@") + "/served.git"
    assert await exists(remote, url) is True
    assert web.command_lines != []
    assert not [line for line in web.command_lines if b"ls-remote" in line and b"geheim" in line]


async def test_the_root_ref_is_the_branch_that_head_means(
    remote: RemoteServicer, bare: Bare, served: Bare, web: Web
) -> None:
    assert await root_ref(remote, f"{web.url}/served.git") == "trunk"
    assert await root_ref(remote, served.path) == "trunk"


async def test_the_authorization_reaches_the_server_and_nobody_else(
    remote: RemoteServicer, bare: Bare, served: Bare, web: Web
) -> None:
    url = f"{web.url}/served.git"
    assert await root_ref(remote, url, http_authorization_header=SECRET) == "trunk"
    assert set(web.headers) == {SECRET}
    assert web.command_lines != []
    assert not [line for line in web.command_lines if SECRET.encode() in line]


async def test_connections_go_to_the_pinned_address(
    remote: RemoteServicer, bare: Bare, served: Bare, web: Web
) -> None:
    url = web.url.replace("127.0.0.1", "no-such-host.invalid") + "/served.git"
    assert await root_ref(remote, url, resolved_address="127.0.0.1") == "trunk"
    with pytest.raises(InvalidRequest) as caught:
        await root_ref(remote, url, resolved_address="127.0.0.1.1")
    assert caught.value.message == (
        "couldn't get curloptResolve config: resolved address has invalid IPv4/IPv6 address"
    )


async def test_redirects_are_not_followed(
    remote: RemoteServicer, bare: Bare, served: Bare, web: Web
) -> None:
    web.redirects_to = web.url
    assert await exists(remote, f"{web.url}/served.git") is False
    with pytest.raises(Internal) as caught:
        await root_ref(remote, f"{web.url}/served.git")
    assert caught.value.message == "exit status 128"
    assert len(web.headers) == 2


async def test_a_remote_without_head_has_no_root_ref(
    remote: RemoteServicer, bare: Bare, web: Web
) -> None:
    with pytest.raises(NotFound) as caught:
        await root_ref(remote, bare.path)
    assert caught.value.message == "no remote HEAD found"


@pytest.mark.parametrize(
    ("more", "kind", "text"),
    [
        ({"remote_url": ""}, InvalidRequest, "missing remote URL"),
        ({"repository": message("none.git")}, NotFound, "repository not found"),
        ({"remote_url": "a\0b"}, InvalidRequest, "remote URL contains a null byte"),
        (
            {"http_authorization_header": "x\r\nHost: y"},
            InvalidRequest,
            "HTTP authorization header contains a line break",
        ),
        ({"remote_url": "http://" + "x" * 200_000}, InvalidRequest, "remote URL is too long"),
        ({"remote_url": "-x"}, Internal, "exit status 128"),
        ({"remote_url": "ext::sh -c echo% x"}, Internal, "exit status 128"),
    ],
)
async def test_what_has_no_root_ref_is_refused(
    remote: RemoteServicer, bare: Bare, more: dict[str, Any], kind: type[NodeError], text: str
) -> None:
    fields: dict[str, Any] = {"repository": message(), "remote_url": "http://127.0.0.1:1/"}
    with pytest.raises(kind) as caught:
        await remote.FindRemoteRootRef(FindRemoteRootRefRequest(**(fields | more)), CALL)
    assert caught.value.message == text
