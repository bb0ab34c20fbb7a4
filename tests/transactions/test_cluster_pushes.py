"""Pushes to three nodes at once: all of them do the same, or those that differ are found out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

import pytest

from gitaly._pb.shared_pb2 import Repository
from tests.e2e.node_process import below
from tests.e2e.pushes.pushers import make_history, make_target
from tests.faults.nodes import run_git
from tests.hooks.custom.scripts import write_hook
from tests.services.node_under_test import children
from tests.transactions.cluster import NAMES, PATH, Cluster, a_cluster
from tests.transactions.pushing import Pushed, Way, a_way
from tests.transport.wires import until

ZERO = "0" * 40
PRE, UPDATE, POST = (
    ("SYNCHRONIZED", sha1(f"synchronize {hook} hook".encode()).hexdigest())
    for hook in ("pre-receive", "update", "post-receive")
)
CONCLUSION = ("COMMITTED", ZERO)
OK = ("OK", "")
DIFFERS = ("ABORTED", "The operation could not be completed. Please try again.")


@dataclass
class Stage:
    cluster: Cluster
    way: Way
    commits: dict[str, str]
    others: frozenset[int]  # processes that are not the nodes'

    def path(self, name: str) -> Path:
        return self.cluster.members[name].repository

    def references(self, name: str) -> dict[str, str]:
        """By name: the name of a commit."""
        listed = run_git(
            "-C", str(self.path(name)), "for-each-ref", "--format=%(refname) %(objectname)"
        )
        names = {object_id: name for name, object_id in self.commits.items()}
        pairs = (line.split() for line in listed.splitlines())
        return {reference: names[object_id] for reference, object_id in pairs}

    def everywhere(self) -> dict[str, str]:
        """References that all nodes have."""
        found = [self.references(name) for name in NAMES]
        assert found[0] == found[1] == found[2]
        return found[0]

    def votes(self, name: str = "node-1") -> list[tuple[str, str]]:
        return self.cluster.votes(name)

    def update(self, *lines: str) -> list[tuple[str, str]]:
        """What git votes when it changes references, given as lines with names of commits."""
        text = "".join(f"{line}\n" for line in lines)
        for name, object_id in {**self.commits, "zero": ZERO}.items():
            text = text.replace(f"<{name}>", object_id)
        digest = sha1(text.encode()).hexdigest()
        return [("PREPARED", digest), ("COMMITTED", digest)]

    def troubles(self, pushed: Pushed) -> list[object]:
        """What went wrong on a node, in its own words: of a push on which all agree, nothing."""
        found: list[object] = [x for x in pushed.statuses.items() if x[1] != OK]
        found += [name for name in NAMES if name not in pushed.statuses]
        for name in NAMES if found else ():
            lines = self.cluster.members[name].served.lines()
            found += [(name, line) for line in lines if line["level"] == "error"]
        return found

    def late_ones_say_so(self, pushed: Pushed) -> bool:
        """Whether the primary is content, and each other node either is, too, or tells Praefect.

        Votes are decided by a majority. A node that is still to vote when the primary stops the
        transaction changes nothing any more, and its call fails.
        """
        stopped = ("INTERNAL", "cmd wait: exit status 128")
        others = [pushed.statuses[name] for name in NAMES[1:]]
        return pushed.statuses[NAMES[0]] == OK and all(x in (OK, stopped) for x in others)

    async def quiet(self) -> None:
        """No git runs, no lock is held, and no quarantine is left."""
        await until(lambda: [x for x in children() if x not in self.others] == [])
        for name in NAMES:
            path = self.path(name)
            assert [x for x in below(path) if ".lock" in x.name or "incoming" in x.name] == []
            assert run_git("-C", str(path), "fsck", "--no-dangling") == ""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    others = frozenset(children())
    commits = make_history(tmp_path / "work")
    repository = Repository(storage_name="default", relative_path=PATH, gl_repository="project-1")
    async with a_cluster(tmp_path) as cluster:
        for member in cluster.members.values():
            member.repository.parent.mkdir(parents=True)
            make_target(member.repository, tmp_path / "work")
        links = [cluster.members[name].link for name in NAMES]
        async with a_way(cluster.praefect, links, repository, tmp_path / "work") as way:
            stage = Stage(cluster, way, commits, others)
            yield stage
            await cluster.quiet()
            await stage.quiet()


async def test_a_new_branch_is_on_all_nodes_after_the_same_votes(stage: Stage) -> None:
    pushed = await stage.way.push("b1:topic")
    assert pushed.code == 0
    assert stage.troubles(pushed) == []
    assert stage.everywhere()["refs/heads/topic"] == "b1"
    expected = [
        PRE,
        UPDATE,
        *stage.update("<zero> <b1> refs/heads/topic"),
        POST,
        CONCLUSION,
    ]
    assert [stage.votes(name) for name in NAMES] == [expected] * 3


async def test_branches_that_are_deleted_packed_or_not(stage: Stage) -> None:
    run_git("-C", str(stage.path("node-2")), "pack-refs", "--all")
    pushed = await stage.way.push(":side")
    assert stage.troubles(pushed) == []
    assert stage.everywhere() == {"refs/heads/main": "base"}
    expected = [PRE, UPDATE, *stage.update("<base> <zero> refs/heads/side"), POST, CONCLUSION]
    assert [stage.votes(name) for name in NAMES] == [expected] * 3


async def test_an_atomic_push_is_one_transaction(stage: Stage) -> None:
    pushed = await stage.way.push("--atomic", "b1:one", "b2:two", "b3:three")
    assert stage.troubles(pushed) == []
    assert [stage.everywhere()[f"refs/heads/{x}"] for x in ("one", "two", "three")] == [
        "b1",
        "b2",
        "b3",
    ]
    votes = stage.votes()
    assert votes[:4] == [PRE, UPDATE, UPDATE, UPDATE]
    assert [phase for phase, _ in votes[4:]] == [
        "PREPARED",
        "COMMITTED",
        "SYNCHRONIZED",
        "COMMITTED",
    ]
    assert [stage.votes(name) for name in NAMES] == [votes] * 3


async def test_a_hook_that_refuses_on_the_primary_stops_the_others(stage: Stage) -> None:
    write_hook(stage.path("node-1") / "custom_hooks/pre-receive", "echo no; exit 1")
    pushed = await stage.way.push("b1:topic")
    assert pushed.code == 1
    assert "remote: no" in pushed.said
    assert "(pre-receive hook declined)" in pushed.said
    # The report tells the pusher; for Praefect all nodes are alike.
    assert stage.troubles(pushed) == []
    assert "refs/heads/topic" not in stage.everywhere()
    assert stage.votes("node-1") == [CONCLUSION]
    assert [stage.votes(name) for name in NAMES[1:]] == [[PRE, CONCLUSION]] * 2
    assert stage.cluster.praefect.stops == [7]


async def test_hooks_of_secondaries_do_not_run(stage: Stage) -> None:
    for hook in ("pre-receive", "update", "post-receive"):
        for name in NAMES[1:]:
            write_hook(stage.path(name) / f"custom_hooks/{hook}", "echo no; exit 1")
        write_hook(stage.path("node-1") / f"custom_hooks/{hook}", f"echo {hook} of the primary")
    pushed = await stage.way.push("b1:topic")
    assert pushed.code == 0
    remote = [x.rstrip() for x in pushed.said.splitlines() if x.startswith("remote:")]
    assert remote == [
        "remote: pre-receive of the primary",
        "remote: update of the primary",
        "remote: post-receive of the primary",
    ]
    assert stage.everywhere()["refs/heads/topic"] == "b1"


async def test_an_update_hook_that_refuses_one_reference_stops_those_that_follow(
    stage: Stage,
) -> None:
    write_hook(stage.path("node-1") / "custom_hooks/update", 'test "$1" != refs/heads/two')
    pushed = await stage.way.push("b1:one", "b2:two", "b3:zzz")
    assert pushed.code == 1
    assert stage.late_ones_say_so(pushed)
    assert stage.cluster.praefect.stops[:1] == [7]
    for name in NAMES:
        assert {"refs/heads/two", "refs/heads/zzz"} & {*stage.references(name)} == set()


async def test_a_post_receive_hook_that_fails_undoes_nothing(stage: Stage) -> None:
    write_hook(stage.path("node-1") / "custom_hooks/post-receive", "exit 1")
    pushed = await stage.way.push("b1:topic")
    assert pushed.code == 0
    assert stage.late_ones_say_so(pushed)
    assert stage.references("node-1")["refs/heads/topic"] == "b1"
    committed = stage.update("<zero> <b1> refs/heads/topic")[-1]
    for name in NAMES[1:]:
        # One that was stopped before it voted on the change has refused it as any hook does, in
        # its report to the pusher. Praefect knows it by the vote that it has not cast.
        if committed in stage.votes(name) and pushed.statuses[name] == OK:
            assert stage.references(name)["refs/heads/topic"] == "b1"
        assert committed in stage.votes(name) or "refs/heads/topic" not in stage.references(name)
    assert stage.cluster.praefect.stops == [7]


async def test_a_secondary_that_has_fallen_behind_is_found_out(stage: Stage) -> None:
    behind = str(stage.path("node-3"))
    run_git("-C", behind, "update-ref", "-d", "refs/heads/main")
    pushed = await stage.way.push("b1:main")
    assert pushed.code == 0
    assert pushed.statuses == {"node-1": OK, "node-2": OK, "node-3": DIFFERS}
    assert stage.references("node-1")["refs/heads/main"] == "b1"
    assert stage.references("node-2")["refs/heads/main"] == "b1"
    assert "refs/heads/main" not in stage.references("node-3")


async def test_a_primary_that_has_fallen_behind_changes_nothing_anywhere(stage: Stage) -> None:
    run_git("-C", str(stage.path("node-1")), "update-ref", "-d", "refs/heads/main")
    pushed = await stage.way.push("b1:main")
    assert pushed.code != 0
    assert pushed.statuses["node-1"] == ("INTERNAL", "cmd wait: exit status 128")
    assert "refs/heads/main" not in stage.references("node-1")
    assert stage.references("node-2")["refs/heads/main"] == "base"
    assert stage.references("node-3")["refs/heads/main"] == "base"


@pytest.mark.parametrize(
    ("phase", "commit"), [("SYNCHRONIZED", "base"), ("PREPARED", "base"), ("COMMITTED", "b1")]
)
async def test_a_primary_that_dies_leaves_all_nodes_alike(
    stage: Stage, phase: str, commit: str
) -> None:
    praefect = stage.cluster.praefect
    praefect.silent = ("node-1", phase)
    pushing = asyncio.create_task(stage.way.push("b1:main"))
    await praefect.until_so(
        lambda: all(phase in [x for x, _ in stage.votes(name)] for name in NAMES)
    )
    stage.cluster.members["node-1"].link.vanish()
    pushed = await pushing
    assert pushed.code != 0
    assert pushed.statuses["node-1"][0] == "UNAVAILABLE"
    await stage.quiet()
    assert stage.everywhere() == {"refs/heads/main": commit, "refs/heads/side": "base"}
