"""git-remote-gitaly: what git says to it, and its one line when something is wrong."""

import asyncio
from pathlib import Path

import pytest

from tests.client.programs import Answer, run, run_helper
from tests.faults.nodes import a_node, make_repository, run_git

URL = "gitaly://127.0.0.1:1/default/a.git"


def failed(said: str) -> Answer:
    return Answer(128, b"", f"fatal: {said}\n")


@pytest.mark.parametrize("arguments", [[], ["origin"], ["origin", URL, "more"]])
def test_it_is_for_git_only(arguments: list[str]) -> None:
    said = "usage: git-remote-gitaly REMOTE URL; git runs it for you\n"
    assert run("git-remote-gitaly", *arguments) == Answer(1, b"", said)


def test_all_that_it_can_do_is_connect() -> None:
    assert run_helper(URL, "capabilities") == Answer(0, b"connect\n\n", "")


def test_it_ends_when_git_has_nothing_to_say() -> None:
    assert run_helper(URL) == Answer(0, b"", "")


def test_another_command_is_refused() -> None:
    assert run_helper(URL, "list") == failed(f"{URL}: git asks for something unknown: list")


async def test_another_service_is_refused(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        url = f"gitaly+unix://{served.directory}/node.sock:/default/a.git"
        answer = await asyncio.to_thread(run_helper, url, "connect git-nothing")
    assert answer == failed(f"{url}: git asks for an unknown service: git-nothing")


def test_a_url_that_is_none_is_told_before_git_says_anything() -> None:
    assert run_helper("https://node/default/a.git") == failed(
        "https://node/default/a.git: not a URL of a repository, like gitaly://HOST[:PORT]/STORAGE/PATH"
    )


def test_a_url_that_is_not_utf8_is_one_line() -> None:
    assert run_helper(b"gitaly://node/default/\xff.git") == failed(
        "gitaly://node/default/\\udcff.git: storage and path must be UTF-8"
    )


@pytest.mark.parametrize(
    ("scheme", "service"),
    [
        ("gitaly", "git-upload-pack"),
        ("gitaly+tls", "git-receive-pack"),
        ("tcp", "git-upload-archive"),
        ("tls", "git-upload-pack"),
    ],
)
def test_a_node_that_is_not_there_is_one_line(scheme: str, service: str) -> None:
    url = f"{scheme}://127.0.0.1:1/default/a.git"
    assert run_helper(url, f"connect {service}") == failed(
        f"{url}: dial tcp 127.0.0.1:1: connection refused"
    )


def test_a_socket_that_is_not_there_is_one_line() -> None:
    url = "gitaly+unix:///nonexistent/s:/default/a.git"
    assert run_helper(url, "connect git-upload-pack") == failed(
        f"{url}: dial unix /nonexistent/s: no such file or directory"
    )


def test_a_name_that_no_host_can_have_is_one_line() -> None:
    url = "gitaly://a..b/default/a.git"
    assert run_helper(url, "connect git-upload-pack") == failed(
        f"{url}: dial tcp a..b:8075: not a name of a host"
    )


def test_nobody_sees_the_user_of_a_url() -> None:
    answer = run_helper("gitaly://me:hid#den@127.0.0.1:1/default/a.git", "connect git-upload-pack")
    assert answer == failed(f"{URL}: dial tcp 127.0.0.1:1: connection refused")


@pytest.mark.parametrize("name", ["a b%.git", "a#b?c.git", "@gr\u00fcn/b:c.git"])
async def test_every_name_of_a_repository_can_be_reached(tmp_path: Path, name: str) -> None:
    async with a_node(tmp_path) as served:
        commit = make_repository(tmp_path, name, size=1)
        url = f"gitaly::unix://{tmp_path}/node.sock:/default/{name.replace('%', '%25')}"
        said = await asyncio.to_thread(run, "git", "ls-remote", url, "HEAD")
        port = served.node.port("tcp")
        url = f"gitaly://127.0.0.1:{port}/default/{name.replace('%', '%25')}"
        same = await asyncio.to_thread(run, "git", "ls-remote", url, "HEAD")
    assert said == same == Answer(0, f"{commit}\tHEAD\n".encode(), "")


async def test_a_pusher_whose_name_is_not_utf8_can_push(tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        commit = make_repository(tmp_path, size=1)
        url = f"gitaly://127.0.0.1:{served.node.port('tcp')}/default/a.git"
        push = ["git", "-C", f"{tmp_path}/work", "push", "--quiet", url, "HEAD:refs/heads/new"]
        answer = await asyncio.to_thread(run, *push, GL_USERNAME=b"J\xfcrgen")
    assert (answer.code, answer.stderr) == (0, "")
    assert run_git("-C", f"{tmp_path}/storage/a.git", "rev-parse", "refs/heads/new") == commit
