"""Pushes that lose somebody in the middle of a vote: references are old or new, never between."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitaly._pb.shared_pb2 import Repository
from tests.e2e.node_process import below
from tests.e2e.pushes.pushers import make_history, make_target
from tests.faults.nodes import run_git
from tests.transactions.praefect import HOLD, Link, Praefect, a_praefect
from tests.transactions.pushing import Pushed, a_way
from tests.transactions.reachable import Reachable
from tests.transport.wires import until

REPOSITORY = Repository(storage_name="default", relative_path="a.git", gl_repository="project-1")
PREPARED, COMMITTED = 3, 4  # numbers of votes; before them the hooks', after them the others
LAST = 6


@dataclass
class Stage:
    node: Reachable
    praefect: Praefect
    work: Path
    commits: dict[str, str]

    @property
    def path(self) -> Path:
        return self.node.storage / "a.git"

    def main(self) -> str:
        return run_git("-C", str(self.path), "rev-parse", "refs/heads/main")

    def expected(self, number: int) -> str:
        """Where main is after a push of which a vote got no answer."""
        return self.commits["b1" if number >= COMMITTED else "base"]

    async def push(self, link: Link) -> Pushed:
        async with a_way(self.praefect, [link], REPOSITORY, self.work) as way:
            return await way.push("b1:main")

    async def push_without_answer(self, link: Link, number: int) -> "asyncio.Task[Pushed]":
        """A push whose vote of a number waits."""
        self.praefect.script[number] = HOLD
        self.praefect.otherwise = "COMMIT"
        running = asyncio.create_task(self.push(link))
        await self.praefect.until(number)
        return running

    async def quiet(self) -> None:
        await until(lambda: self.node.git_running() == [])
        await until(lambda: self.left() == [])
        run_git("-C", str(self.path), "fsck")

    def left(self) -> list[str]:
        return [x.name for x in below(self.path) if ".lock" in x.name or "incoming" in x.name]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    commits = make_history(tmp_path / "work")
    node = Reachable(tmp_path / "node")
    make_target(node.storage / "a.git", tmp_path / "work")
    await asyncio.to_thread(node.start)
    async with a_praefect() as praefect:
        yield Stage(node, praefect, tmp_path / "work", commits)
    await asyncio.to_thread(node.stop)


@pytest.mark.parametrize("number", range(1, LAST + 1))
async def test_a_push_that_loses_praefect(stage: Stage, number: int) -> None:
    link = stage.praefect.connect(stage.node, "node-1")
    running = await stage.push_without_answer(link, number)
    link.vanish()
    assert (await running).code != 0
    await stage.quiet()
    assert stage.main() == stage.expected(number)
    assert len(stage.praefect.votes) == number

    stage.praefect.script.clear()
    pushed = await stage.push(stage.praefect.connect(stage.node, "node-1"))
    assert pushed.code == 0
    assert stage.main() == stage.commits["b1"]


@pytest.mark.parametrize("number", range(1, LAST + 1))
async def test_a_push_whose_client_gives_up(stage: Stage, number: int) -> None:
    link = stage.praefect.connect(stage.node, "node-1")
    async with a_way(stage.praefect, [link], REPOSITORY, stage.work) as way:
        stage.praefect.script[number] = HOLD
        stage.praefect.otherwise = "COMMIT"
        running = asyncio.create_task(way.push("b1:main"))
        await stage.praefect.until(number)
        way.calls["node-1"].cancel()
        await running
    await stage.quiet()
    assert stage.main() == stage.expected(number)
    # What has changed is told to GitLab by the post-receive hook, whoever still listens; it votes.
    assert len(stage.praefect.votes) == (number + 1 if number == COMMITTED else number)


@pytest.mark.parametrize("number", range(1, LAST + 1))
async def test_a_push_whose_node_is_killed(stage: Stage, number: int) -> None:
    link = stage.praefect.connect(stage.node, "node-1")
    running = await stage.push_without_answer(link, number)
    await asyncio.to_thread(stage.node.kill)
    assert (await running).code != 0
    await asyncio.to_thread(stage.node.start)
    await until(lambda: stage.node.git_running() == [])
    assert [x for x in stage.left() if "incoming" not in x] == []  # that is for the start to sweep
    assert stage.main() == stage.expected(number)
    run_git("-C", str(stage.path), "fsck")

    stage.praefect.script.clear()
    pushed = await stage.push(stage.praefect.connect(stage.node, "node-1"))
    assert pushed.code == 0
    assert stage.main() == stage.commits["b1"]
