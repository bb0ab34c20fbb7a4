"""Pushes with votes, as the original was seen to cast them.

`recorded_votes.json` is what Gitaly 18.9 did with git 2.39 and with git 2.55. What nodes vote on is
what git says of the references, so it depends on git's version; beside each such hash stand the
lines that it was made from, with names in the place of that day's commits.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly.git import GitVersion
from tests.e2e.pushes.pushers import make_history, make_target
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import a_node, run_git
from tests.hooks.gitlab.server import GitLabServer
from tests.transactions.praefect import Praefect, a_praefect
from tests.transactions.pushing import Pushed, Way, a_way

RECORDED: Final[dict[str, Any]] = json.loads(
    Path(__file__).with_name("recorded_votes.json").read_text()
)
VERSION: Final = GitVersion.parse(run_git("version"))
PUSHES: Final = {
    "one reference": "b1:main",
    "secondary": "b1:main",
    "deletion": ":side",
    "abort vote 1": "b1:main",
}
REPOSITORY: Final = Repository(
    storage_name="default", relative_path="p/votes.git", gl_repository="project-1"
)


def lines_of(digest: str, commits: dict[str, str]) -> bytes:
    """What a recorded hash was made from, for some commits."""
    text = "".join(f"{line}\n" for line in RECORDED["hashed"][digest])
    for name, object_id in {**commits, "zero": "0" * 40}.items():
        text = text.replace(f"<{name}>", object_id)
    return text.encode()


@pytest.mark.parametrize("digest", list(RECORDED["hashed"]))
def test_the_hashes_that_were_recorded_are_those_of_the_lines_beside_them(digest: str) -> None:
    assert sha1(lines_of(digest, RECORDED["commits"])).hexdigest() == digest


@dataclass
class Stage:
    """A node that asks GitLab, and Praefect before it."""

    praefect: Praefect
    way: Way
    gitlab: GitLabServer
    path: Path  # of the repository
    commits: dict[str, str]

    def objects(self) -> int:
        listed = run_git(
            *("-C", str(self.path), "cat-file", "--batch-all-objects", "--batch-check")
        )
        return len(listed.splitlines())

    def references(self) -> str:
        return run_git("-C", str(self.path), "for-each-ref")

    def left(self) -> list[str]:
        return [x.name for x in (self.path / "objects").glob("*incoming*")]


@pytest.fixture
def gitlab() -> Iterator[GitLabServer]:
    with GitLabServer().serving() as server:
        yield server


@pytest.fixture
async def stage(tmp_path: Path, gitlab: GitLabServer) -> AsyncIterator[Stage]:
    (tmp_path / "secret").write_text("x" * 32)
    commits = make_history(tmp_path / "work")
    path = tmp_path / "storage" / REPOSITORY.relative_path
    make_target(path, tmp_path / "work")
    extra = f'gitlab.url = "{gitlab.url}"\ngitlab.secret_file = "{tmp_path}/secret"'
    async with a_node(tmp_path, extra=extra) as served, a_praefect() as praefect:
        praefect.otherwise = "COMMIT"
        links = [praefect.connect(served, "node-1")]
        async with a_way(praefect, links, REPOSITORY, tmp_path / "work") as way:
            yield Stage(praefect, way, gitlab, path, commits)


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = RECORDED["pushes"][name]
    if "votes" in found:
        return found
    if VERSION < (2, 40):
        return found["git 2.39"]  # type: ignore[no-any-return]
    if VERSION >= (2, 55):
        return found["git 2.55"]  # type: ignore[no-any-return]
    pytest.skip(f"nobody has recorded what git {VERSION.text} says")


def votes_as_recorded(stage: Stage) -> list[str]:
    """With the hashes of the day of the recording."""
    then = {
        sha1(lines_of(digest, stage.commits)).hexdigest(): digest for digest in RECORDED["hashed"]
    }
    return [
        f"{vote.phase}_PHASE {then.get(vote.digest, vote.digest)} node={vote.node} id=7"
        for vote in stage.praefect.votes
        if vote.transaction == 7
    ]


def report_of(pushed: Pushed) -> list[str]:
    """What receive-pack has reported, from what git prints of it."""
    found = ["unpack ok"]
    for line in pushed.references:
        flag, names, text = line.split("\t")
        reference = names.partition(":")[2]
        reason = re.search(r"\[remote rejected\] \((.*)\)", text)
        found.append(f"ng {reference} {reason[1]}" if flag == "!" and reason else f"ok {reference}")
    return found


@pytest.mark.parametrize("name", list(RECORDED["pushes"]))
async def test_a_push_is_voted_on_as_it_was_recorded(stage: Stage, name: str) -> None:
    expected = recorded(name)
    if name == "secondary":
        stage.way.primary = "elsewhere"
    if name == "abort vote 1":
        stage.praefect.script[1] = "ABORT"
    objects, references = stage.objects(), stage.references()

    pushed = await stage.way.push(PUSHES[name])

    assert votes_as_recorded(stage) == expected["votes"]
    assert report_of(pushed) == expected["report"]
    shown = [x for x in pushed.said.splitlines() if x.startswith("remote:")]
    assert [x.removeprefix("remote: ").rstrip() for x in shown] == expected["stderr"]
    assert [f"{x.method} {x.path}" for x in stage.gitlab.calls] == expected["calls"]
    assert pushed.statuses["node-1"][0] == expected["status"]
    assert stage.praefect.stops == expected["stops"]
    assert stage.objects() - objects == expected["new_objects"]
    assert (stage.references() != references) is expected["changed"]
    assert stage.left() == expected["left"]
