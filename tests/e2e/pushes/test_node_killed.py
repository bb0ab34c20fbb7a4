"""The node is killed while a push is in each of its phases: the old state or the new one."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import finished, run_git
from tests.e2e.node_process import NodeProcess, wait_until
from tests.e2e.pushes.conftest import gitlab_config
from tests.e2e.pushes.pushers import Pusher, make_target
from tests.e2e.pushes.test_many import is_sound
from tests.hooks.custom.scripts import write_hook
from tests.hooks.gitlab.server import GitLabServer

History = tuple[Path, dict[str, str]]


@pytest.fixture
def node(gitlab: GitLabServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    directory = tmp_path_factory.mktemp("k")
    (directory / "secret").write_text("x")
    node = NodeProcess(directory, extra=gitlab_config(gitlab.url, directory / "secret"))
    node.start()
    yield node
    gitlab.released.set()
    gitlab.released = threading.Event()
    node.stop()


@pytest.fixture
def mine(node: NodeProcess, history: History) -> Pusher:
    pusher = Pusher(node=node, work=history[0], relative_path="mine.git")
    make_target(pusher.path, pusher.work)
    return pusher


Phase = Callable[[GitLabServer, Pusher, Path], Callable[[], object]]


def during_call(name: str) -> Phase:
    def arrange(gitlab: GitLabServer, _: Pusher, __: Path) -> Callable[[], object]:
        arrived = gitlab.hold(name)
        return lambda: arrived.wait(20)

    return arrange


def during_hook(name: str) -> Phase:
    def arrange(_: GitLabServer, pusher: Pusher, directory: Path) -> Callable[[], object]:
        begun = directory / "begun"
        # It notices that its node is gone, as programs do that read or write.
        script = f"touch {begun}; while kill -0 $PPID && sleep 0.05; do :; done; exit 1"
        write_hook(pusher.path / "custom_hooks" / name, script)
        return lambda: wait_until(begun.exists, "the hook to begin")

    return arrange


PHASES = {
    "GitLab is asked": (during_call("/allowed"), "base"),
    "a pre-receive hook runs": (during_hook("pre-receive"), "base"),
    "GitLab counts": (during_call("/pre_receive"), "base"),
    "an update hook runs": (during_hook("update"), "base"),
    "GitLab is told": (during_call("/post_receive"), "b1"),
    "a post-receive hook runs": (during_hook("post-receive"), "b1"),
}


@pytest.mark.parametrize("phase", list(PHASES))
def test_a_node_that_is_killed_leaves_the_old_state_or_the_new(
    phase: str, gitlab: GitLabServer, mine: Pusher, history: History, tmp_path: Path
) -> None:
    arrange, label = PHASES[phase]
    wait_for_it = arrange(gitlab, mine, tmp_path)
    push = mine.start("b1:main")
    wait_for_it()
    mine.node.kill()
    finished(push)
    wait_until(lambda: not mine.node.git_running(), "git to end by itself")
    assert mine.references()["refs/heads/main"] == history[1][label]
    mine.node.start()
    wait_until(lambda: not mine.left(), "quarantines to be removed")
    assert is_sound(mine.path)
    gitlab.during.clear()
    gitlab.released.set()
    subprocess.run(["rm", "-rf", mine.path / "custom_hooks"], check=True)
    assert mine.push("b2:main").code == 0
    assert mine.references()["refs/heads/main"] == history[1]["b2"]


def test_a_push_that_was_killed_with_its_node_is_cleaned_up_at_the_start(
    gitlab: GitLabServer, mine: Pusher, history: History
) -> None:
    """As when the machine fails: git had no chance to clean up."""
    arrived = gitlab.hold("/allowed")
    push = mine.start("b1:main")
    assert arrived.wait(20)
    for pid in mine.node.git_running():
        os.kill(pid, signal.SIGKILL)
    mine.node.kill()
    finished(push)
    assert mine.left() != []
    mine.node.start()
    wait_until(lambda: not mine.left(), "quarantines to be removed")
    assert mine.references()["refs/heads/main"] == history[1]["base"]
    assert (mine.objects(), is_sound(mine.path)) == (3, True)


def test_a_quarantine_that_a_living_git_fills_is_left_alone(
    gitlab: GitLabServer, mine: Pusher, history: History, tmp_path: Path
) -> None:
    """A predecessor that still drains, or an operator who pushes to the path itself."""
    arrived = tmp_path / "arrived"
    (mine.path / "hooks").mkdir(exist_ok=True)
    go_on = tmp_path / "go on"
    write_hook(
        mine.path / "hooks/pre-receive",
        f"touch '{arrived}'; while ! test -e '{go_on}'; do sleep 0.05; done",
    )
    push = subprocess.Popen(
        ["git", "push", "--quiet", str(mine.path), "b1:main"], cwd=mine.work, env=mine.environment()
    )
    wait_until(arrived.exists, "the hook to begin")
    mine.node.kill()
    mine.node.start()
    line = "finished tempdir cleaner walk"
    wait_until(lambda: mine.node.log().count(line) >= 2, "the sweep to be over")
    assert mine.left() != []
    go_on.touch()
    assert push.wait(20) == 0
    assert run_git("rev-parse", "main", cwd=mine.path) == history[1]["b1"]
