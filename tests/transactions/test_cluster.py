"""Repositories of a cluster: made and removed on all nodes, or on those that agree."""

import asyncio
import os
from collections.abc import AsyncIterator
from hashlib import sha1
from pathlib import Path

import pytest

from tests.storage.support import put
from tests.transactions.cluster import NAMES, PATH, Cluster, a_cluster

OK = ("OK", "")
CONFIG = b"core.repositoryformatversion=0\ncore.filemode=true\ncore.bare=true\n"
PHASES = ["PREPARING", "PREPARED", "COMMITTED"]
ABORTED = (
    "FAILED_PRECONDITION",
    "creating repository: preparatory vote: transaction was aborted",
)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with a_cluster(tmp_path) as cluster:
        yield cluster
        await cluster.quiet()
        for member in cluster.members.values():
            assert member.leftovers() == []


def holders(cluster: Cluster) -> list[str]:
    """Where the repository is."""
    return [name for name, member in cluster.members.items() if member.repository.exists()]


async def test_a_repository_is_created_on_all_nodes_with_the_same_votes(cluster: Cluster) -> None:
    assert await cluster.create() == dict.fromkeys(NAMES, OK)
    digest = sha1(CONFIG).hexdigest()
    for name in NAMES:
        assert cluster.votes(name) == [(phase, digest) for phase in PHASES]
    assert holders(cluster) == [*NAMES]


async def test_a_repository_is_removed_from_all_nodes_with_the_same_votes(cluster: Cluster) -> None:
    await cluster.create()
    cluster.praefect.votes.clear()
    assert await cluster.remove() == dict.fromkeys(NAMES, OK)
    texts = [f"acquiring distributed lock {PATH}", f"pre-remove {PATH}", f"post-remove {PATH}"]
    digests = [sha1(text.encode()).hexdigest() for text in texts]
    for name in NAMES:
        assert cluster.votes(name) == list(zip(PHASES, digests, strict=True))
    assert holders(cluster) == []


async def test_a_secondary_that_differs_is_left_behind(cluster: Cluster) -> None:
    statuses = await cluster.create(different=["node-3"])
    assert statuses == {"node-1": OK, "node-2": OK, "node-3": ABORTED}
    assert holders(cluster) == ["node-1", "node-2"]


@pytest.mark.parametrize("different", [["node-1"], ["node-2", "node-3"]])
async def test_without_a_quorum_nothing_is_created_anywhere(
    cluster: Cluster, different: list[str]
) -> None:
    statuses = await cluster.create(different=different)
    assert statuses["node-1"] == ABORTED
    assert OK not in statuses.values()
    assert holders(cluster) == []


async def test_when_the_primary_cannot_the_others_give_up(cluster: Cluster) -> None:
    lock = f"{cluster.members['node-1'].repository}.lock"
    put(lock)
    statuses = await cluster.create()
    text = "creating repository: locking repository: file already locked"
    assert statuses["node-1"] == ("INTERNAL", text)
    assert {statuses[name][0] for name in NAMES[1:]} <= {"CANCELLED", "FAILED_PRECONDITION"}
    assert holders(cluster) == []
    os.unlink(lock)


async def test_when_a_secondary_cannot_the_others_go_on(cluster: Cluster) -> None:
    lock = f"{cluster.members['node-2'].repository}.lock"
    put(lock)
    statuses = await cluster.create()
    assert statuses["node-2"][0] == "INTERNAL"
    assert (statuses["node-1"], statuses["node-3"]) == (OK, OK)
    assert holders(cluster) == ["node-1", "node-3"]
    os.unlink(lock)


async def test_secondaries_that_wait_are_stopped_with_their_primary(cluster: Cluster) -> None:
    number = cluster.praefect.begin(NAMES)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(cluster.members[name].create(number)) for name in NAMES[1:]]
        await cluster.praefect.until(2)
        await cluster.praefect.stop(number)
    text = "creating repository: preparatory vote: transaction was stopped"
    assert [task.result() for task in waiting] == [("FAILED_PRECONDITION", text)] * 2
    late = await cluster.members["node-1"].create(number)
    assert late == ("FAILED_PRECONDITION", text)
    assert holders(cluster) == []


async def test_a_node_may_be_asked_again_after_a_failed_change(cluster: Cluster) -> None:
    await cluster.create(different=["node-1"])
    assert await cluster.create() == dict.fromkeys(NAMES, OK)
    assert await cluster.remove() == dict.fromkeys(NAMES, OK)


async def test_changes_without_end_leave_no_descriptor_behind(cluster: Cluster) -> None:
    async def change() -> int:
        assert await cluster.create(different=["node-3"]) != dict.fromkeys(NAMES, OK)
        await cluster.remove()
        await cluster.quiet()
        return len(os.listdir("/proc/self/fd"))

    before = await change()
    for _ in range(5):
        assert await change() <= before
