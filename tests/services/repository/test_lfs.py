"""Archives with LFS objects, from a GitLab that is a real HTTP server."""

import base64
import hmac
import http.server
import io
import json
import os
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.repository_pb2 import GetArchiveRequest
from gitaly.git import Git, Objects
from gitaly.services.repository import ArchiveServicer, LfsFilter
from gitaly.storage import Storages
from tests.git.support import Bare
from tests.services.repository.filling import commit_files, joined
from tests.storage.support import message

CALL: Any = None  # none of these calls looks at it
LARGE = os.urandom(300_000)
HERE, MISSING, REDIRECTED, BROKEN = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
NOT_A_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n"


def pointer(object_id: str) -> bytes:
    version = "version https://git-lfs.github.com/spec/v1"
    return f"{version}\noid sha256:{object_id}\nsize {len(LARGE)}\n".encode()


FILES = {
    ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n",
    "a.bin": pointer(HERE),
    "b.bin": pointer(MISSING),
    "c.bin": pointer(REDIRECTED),
    "d.bin": pointer(BROKEN),
    "e.bin": NOT_A_POINTER,
    "f.txt": pointer(HERE),
}


class Api(http.server.BaseHTTPRequestHandler):
    """GitLab's internal API, as far as LFS goes."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        if self.path == "/elsewhere":
            return self.send(200, LARGE)
        object_id = self.path.partition("oid=")[2][:64]
        if object_id == HERE:
            return self.send(200, LARGE)
        if object_id == BROKEN:
            return self.send(200, LARGE, length=len(LARGE) + 1)
        if object_id == REDIRECTED:
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            return self.end_headers()
        return self.send(404, b"{}")

    def send(self, status: int, body: bytes, length: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "client"

    def log_message(self, *_: object) -> None:
        pass


class UnixServer(socketserver.ThreadingUnixStreamServer):
    pass


@pytest.fixture(params=["tcp", "unix"])
def gitlab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """Its URL, and the server, which remembers what it was `asked`."""
    server: Any
    if request.param == "tcp":
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
        url = f"http://127.0.0.1:{server.server_address[1]}/root"
    else:
        server = UnixServer(str(tmp_path / "s"), Api)
        url = "http+unix://" + str(tmp_path / "s").replace("/", "%2F")
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield url, server
    server.shutdown()
    thread.join()
    server.server_close()


async def archived(archives: ArchiveServicer, **more: Any) -> dict[str, bytes]:
    request = GetArchiveRequest(
        repository=message(gl_repository="project-1"),
        commit_id="main",
        prefix="p",
        format=GetArchiveRequest.TAR,
        **more,
    )
    data = await joined(archives.GetArchive(request, CALL))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {entry.name: tar.extractfile(entry) for entry in tar if entry.isfile()}
        return {name[2:]: file.read() for name, file in found.items() if file is not None}


def archives_with(
    storages: Storages, git: Git, objects: Objects, url: str, **settings: Any
) -> ArchiveServicer:
    table: dict[str, object] = {"url": url, "relative_url_root": "/root/", "secret": " geheim\n"}
    table |= {"http_settings": {"read_timeout": 20} | settings}
    return ArchiveServicer(storages, git, objects, LfsFilter(table, {}))


async def test_pointers_become_what_they_point_to(
    storages: Storages, git: Git, objects: Objects, bare: Bare, gitlab: tuple[str, Any]
) -> None:
    url, server = gitlab
    commit_files(bare, FILES)
    archives = archives_with(storages, git, objects, url, user="jane", password="x")
    files = await archived(archives, include_lfs_blobs=True)
    assert files["a.bin"] == files["c.bin"] == LARGE
    assert {name: files[name] for name in ("b.bin", "d.bin", "e.bin", "f.txt")} == {
        name: FILES[name] for name in ("b.bin", "d.bin", "e.bin", "f.txt")
    }
    path, headers = server.asked[0]
    assert path == f"/root/api/v4/internal/lfs?oid={HERE}&gl_repository=project-1"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"jane:x").decode()
    signed, _, signature = headers["Gitlab-Shell-Api-Request"].rpartition(".")
    expected = hmac.digest(b"geheim", signed.encode(), "sha256")
    assert base64.urlsafe_b64decode(signature + "=") == expected
    claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
    assert (claims["iss"], claims["exp"] - claims["iat"]) == ("gitlab-shell", 60)


async def test_pointers_stay_where_nobody_asks_for_the_objects(
    storages: Storages, git: Git, objects: Objects, bare: Bare, gitlab: tuple[str, Any]
) -> None:
    url, server = gitlab
    commit_files(bare, FILES)
    assert await archived(archives_with(storages, git, objects, url)) == FILES
    standalone = ArchiveServicer(storages, git, objects)
    assert await archived(standalone, include_lfs_blobs=True) == FILES
    assert server.asked == []


async def test_pointers_stay_where_gitlab_does_not_answer(
    storages: Storages, git: Git, objects: Objects, bare: Bare
) -> None:
    commit_files(bare, FILES)
    archives = archives_with(storages, git, objects, "http://127.0.0.1:1")
    assert await archived(archives, include_lfs_blobs=True) == FILES
