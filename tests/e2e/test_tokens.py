"""Who is let in, and how the helper of git finds its token."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Way
from tests.e2e.conftest import make_bare
from tests.e2e.node_process import NodeProcess

SECRET = "correct horse"
both_programs = pytest.mark.parametrize("program", ["helper", "ssh"])


@pytest.fixture(scope="module")
def strict_node(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[NodeProcess]:
    extra = f'[auth]\ntoken = "{SECRET}"\n'
    node = NodeProcess(tmp_path_factory.mktemp("n"), extra=extra, certificate=certificate)
    node.start()
    make_bare(node, "demo.git")
    yield node
    node.stop()


@both_programs
def test_the_right_token_opens_the_node(strict_node: NodeProcess, program: str) -> None:
    way = Way(node=strict_node, program=program, token=SECRET)
    assert way.git("ls-remote", way.url) == ""


def test_a_wrong_token_is_told_in_one_line(strict_node: NodeProcess) -> None:
    way = Way(node=strict_node, token="wrong")
    answer = way.try_git("ls-remote", way.url)
    assert answer.code == 128
    assert answer.stderr == f"fatal: {way.url}: permission denied: wrong hmac signature"


def test_a_missing_token_is_told_in_one_line(strict_node: NodeProcess) -> None:
    way = Way(node=strict_node)
    answer = way.try_git("ls-remote", way.url)
    assert answer.code == 128
    assert answer.stderr == f"fatal: {way.url}: authentication required"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("wrong", "rpc error: code = PermissionDenied desc = permission denied: wrong hmac"),
        ("", "rpc error: code = Unauthenticated desc = authentication required"),
    ],
)
def test_gitaly_ssh_logs_why_it_is_refused(strict_node: NodeProcess, token: str, said: str) -> None:
    way = Way(node=strict_node, program="ssh", token=token)
    answer = way.try_git("ls-remote", way.url)
    assert answer.code == 128
    assert said in answer.stderr


@both_programs
@pytest.mark.parametrize("token", ["", "wrong"])
def test_everybody_is_let_in_while_transitioning(
    own_node: Callable[[str], NodeProcess], program: str, token: str
) -> None:
    node = own_node(f'[auth]\ntoken = "{SECRET}"\ntransitioning = true\n')
    make_bare(node, "demo.git")
    way = Way(node=node, program=program, token=token)
    assert way.git("ls-remote", way.url) == ""


class Stored:
    """git's credential store, in a file."""

    def __init__(self, path: Path, node: NodeProcess) -> None:
        self._path = path
        self.extra = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "credential.helper",
            "GIT_CONFIG_VALUE_0": f"store --file={path}",
        }
        self._host = f"127.0.0.1%3a{node.tcp}"

    def put(self, secret: str) -> None:
        self._path.write_text(f"gitaly://me:{secret}@{self._host}\n")

    def content(self) -> str:
        return self._path.read_text()


@pytest.fixture
def stored(tmp_path: Path, strict_node: NodeProcess) -> Stored:
    return Stored(tmp_path / "credentials", strict_node)


@pytest.mark.parametrize("user", ["", "me@"])
def test_the_helper_asks_git_for_the_token(
    strict_node: NodeProcess, stored: Stored, user: str
) -> None:
    stored.put("correct%20horse")
    way = Way(node=strict_node, extra=stored.extra)
    assert way.git("ls-remote", way.url.replace("://", f"://{user}")) == ""
    assert "correct%20horse" in stored.content()


def test_a_stored_token_that_is_wrong_is_forgotten(
    strict_node: NodeProcess, stored: Stored
) -> None:
    stored.put("wrong")
    way = Way(node=strict_node, extra=stored.extra)
    answer = way.try_git("ls-remote", way.url)
    assert answer.stderr == f"fatal: {way.url}: permission denied: wrong hmac signature"
    assert stored.content() == ""


def test_a_token_that_somebody_typed_is_stored_once_it_is_good(
    strict_node: NodeProcess, stored: Stored, tmp_path: Path
) -> None:
    typed = tmp_path / "typed"
    typed.write_text(f"#!/bin/sh\necho '{SECRET}'\n")
    typed.chmod(0o700)
    way = Way(node=strict_node, extra={**stored.extra, "GIT_ASKPASS": str(typed)})
    assert way.git("ls-remote", way.url.replace("://", "://me@")) == ""
    assert "correct%20horse" in stored.content()


def test_an_archive_asks_for_the_token_too(strict_node: NodeProcess, stored: Stored) -> None:
    stored.put("correct%20horse")
    way = Way(node=strict_node, extra=stored.extra)
    answer = way.try_git("archive", f"--remote={way.url}", "main")
    assert "no such ref: main" in answer.stderr
