from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.node_process import NodeProcess
from tests.e2e.pushes.pushers import Pusher, make_history, make_target
from tests.hooks.gitlab.server import GitLabServer

SECRET = "the secret that both know"


def gitlab_config(url: str, secret: Path) -> str:
    return (
        f'[gitlab]\nurl = "{url}"\nsecret_file = "{secret}"\n'
        '[gitlab.http-settings]\nuser = "someone"\npassword = "pass word"\nread_timeout = 20\n'
    )


@pytest.fixture(scope="module")
def gitlab_server() -> Iterator[GitLabServer]:
    with GitLabServer().serving() as server:
        yield server


@pytest.fixture(scope="module")
def node_of_gitlab(
    tmp_path_factory: pytest.TempPathFactory, gitlab_server: GitLabServer
) -> Iterator[NodeProcess]:
    directory = tmp_path_factory.mktemp("n")
    (directory / "secret").write_text(f"{SECRET}\n")
    extra = gitlab_config(gitlab_server.url, directory / "secret")
    node = NodeProcess(
        directory, extra=f'[hooks]\ncustom_hooks_dir = "{directory}/global"\n{extra}'
    )
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    work = tmp_path_factory.mktemp("w") / "work"
    return work, make_history(work)


@pytest.fixture
def gitlab(gitlab_server: GitLabServer) -> GitLabServer:
    again = GitLabServer()
    gitlab_server.replies, gitlab_server.calls = again.replies, []
    gitlab_server.during = {}
    return gitlab_server


@pytest.fixture
def pusher(
    node_of_gitlab: NodeProcess, history: tuple[Path, dict[str, str]], tmp_path: Path
) -> Iterator[Pusher]:
    made = Pusher(node=node_of_gitlab, work=history[0], relative_path=f"p/{tmp_path.name}.git")
    make_target(made.path, made.work)
    with node_of_gitlab.quiet_afterwards():
        yield made
