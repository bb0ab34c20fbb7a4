"""Archives with LFS objects, which GitLab gives to one and not to another."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gitaly.services.repository import LfsFilter
from tests.archivecache.conftest import MakePlace
from tests.git.support import Bare
from tests.services.repository.filling import commit_files
from tests.storage.support import message

OBJECT_ID = "a" * 64
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OBJECT_ID}\nsize 5\n".encode()
FILES = {".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n", "a.bin": POINTER}


class GitLab(ThreadingHTTPServer):
    """Has the object for some repositories and users, and counts who asks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.allowed = {("project-1", "")}
        self.asked: list[tuple[str, str]] = []

    @property
    def settings(self) -> dict[str, object]:
        return {"url": f"http://127.0.0.1:{self.server_address[1]}", "secret": "s"}


class Api(BaseHTTPRequestHandler):
    server: GitLab

    def do_GET(self) -> None:
        (repository,) = parse_qs(urlsplit(self.path).query)["gl_repository"]
        asker = (repository, self.headers.get("Authorization", ""))
        self.server.asked.append(asker)
        is_allowed = asker in self.server.allowed
        self.send_response(200 if is_allowed else 404)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"large" if is_allowed else b"never")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    server = GitLab()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lfs(gitlab: GitLab) -> LfsFilter:
    return LfsFilter(gitlab.settings, {})


def asks(repository: str) -> dict[str, Any]:
    return {"include_lfs_blobs": True, "repository": message(gl_repository=repository)}


async def test_objects_are_fetched_once_for_all(
    place: MakePlace, bare: Bare, gitlab: GitLab, lfs: LfsFilter
) -> None:
    commit_files(bare, FILES)
    async with place(lfs=lfs) as here:
        for _ in range(3):
            answer = await here.archive(**asks("project-1"))
            assert answer.files["p/a.bin"] == b"large"
        assert answer.is_hit
        assert gitlab.asked == [("project-1", "")]


async def test_with_and_without_objects_are_two_archives(
    place: MakePlace, bare: Bare, lfs: LfsFilter
) -> None:
    commit_files(bare, FILES)
    async with place(lfs=lfs) as here:
        given = asks("project-1")
        assert (await here.archive(**given)).files["p/a.bin"] == b"large"
        without = await here.archive(**(given | {"include_lfs_blobs": False}))
        assert without.files["p/a.bin"] == POINTER
        assert (await here.archive(**given)).files["p/a.bin"] == b"large"


async def test_who_may_not_have_an_object_does_not_get_it_from_the_cache(
    place: MakePlace, bare: Bare, gitlab: GitLab, lfs: LfsFilter
) -> None:
    commit_files(bare, FILES)
    async with place(lfs=lfs) as here:
        assert (await here.archive(**asks("project-1"))).files["p/a.bin"] == b"large"
        assert (await here.archive(**asks("project-2"))).files["p/a.bin"] == POINTER
        assert gitlab.asked == [("project-1", ""), ("project-2", "")]


async def test_another_account_at_gitlab_asks_again(
    place: MakePlace, bare: Bare, gitlab: GitLab, lfs: LfsFilter
) -> None:
    commit_files(bare, FILES)
    async with place(lfs=lfs) as here:
        assert (await here.archive(**asks("project-1"))).files["p/a.bin"] == b"large"
        http = {"http_settings": {"user": "eve", "password": "x"}}
        lfs.adopt(gitlab.settings | http, {})
        assert (await here.archive(**asks("project-1"))).files["p/a.bin"] == POINTER


async def test_a_pointer_that_stayed_is_asked_about_again_in_the_next_call(
    place: MakePlace, bare: Bare, gitlab: GitLab, lfs: LfsFilter
) -> None:
    """The object may have been uploaded meanwhile, or GitLab be back."""
    commit_files(bare, FILES)
    gitlab.allowed.clear()
    async with place(lfs=lfs) as here:
        missing = await here.archive(**asks("project-1"))
        assert missing.files["p/a.bin"] == POINTER
        assert missing.fields["archive_cache.unkept"] == "doubtful"
        gitlab.allowed.add(("project-1", ""))
        assert (await here.archive(**asks("project-1"))).files["p/a.bin"] == b"large"
        assert (await here.archive(**asks("project-1"))).is_hit


async def test_pointers_that_stayed_because_gitlab_is_away_are_not_kept(
    place: MakePlace, bare: Bare, gitlab: GitLab
) -> None:
    commit_files(bare, FILES)
    away = LfsFilter({"url": "http://127.0.0.1:1", "secret": "s"}, {})
    async with place(lfs=away) as here:
        assert (await here.archive(**asks("project-1"))).files["p/a.bin"] == POINTER
        again = await here.archive(**asks("project-1"))
        assert (again.is_hit, again.files["p/a.bin"]) == (False, POINTER)
        away.adopt(gitlab.settings, {})
        assert (await here.archive(**asks("project-1"))).files["p/a.bin"] == b"large"
