"""Custom hooks of a repository in a cluster: replaced on all nodes, or on those that agree."""

import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from gitaly._pb.repository_pb2 import (
    RestoreCustomHooksRequest,
    RestoreCustomHooksResponse,
    SetCustomHooksRequest,
    SetCustomHooksResponse,
)
from tests.transactions.cluster import NAMES, REPOSITORY, Cluster, Status, a_cluster

OK = ("OK", "")
SCRIPT = "#!/bin/sh\nexit 0\n"
# Of a directory of mode 0700 that holds SCRIPT as pre-receive, mode 0755; as the reference votes.
DIRECTORY = "431fd0d73a40f287cd26a8560da7462c1e8c1727"
VOTES = [
    ("PREPARING", "c29e69f2b2db1f68f63b9779ad5bc5a726357ba2"),
    ("PREPARED", DIRECTORY),
    ("COMMITTED", DIRECTORY),
]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with a_cluster(tmp_path) as cluster:
        await cluster.create()
        cluster.praefect.votes.clear()
        yield cluster
        await cluster.quiet()
        for member in cluster.members.values():
            assert member.leftovers() == []
            assert [*member.repository.glob("*.lock")] == []


def archive(directory: Path, script: str) -> bytes:
    """As `tar` makes it of a directory with one hook."""
    hooks = directory / "custom_hooks"
    hooks.mkdir()
    (hooks / "pre-receive").write_text(script)
    (hooks / "pre-receive").chmod(0o755)
    hooks.chmod(0o700)
    command = ["tar", "-C", str(directory), "-cf", "-", "custom_hooks"]
    return subprocess.run(command, capture_output=True, check=True).stdout


async def set_hooks(cluster: Cluster, archives: Mapping[str, bytes]) -> Mapping[str, Status]:
    """A stream of one message is on the wire what a single request is."""
    requests = {
        name: SetCustomHooksRequest(repository=REPOSITORY, data=data)
        for name, data in archives.items()
    }
    path = "/gitaly.RepositoryService/SetCustomHooks"
    return await cluster.change(path, requests, SetCustomHooksResponse)


def installed(cluster: Cluster) -> list[str]:
    """On which nodes the hook is."""
    found = [(name, member.repository) for name, member in cluster.members.items()]
    return [name for name, path in found if (path / "custom_hooks/pre-receive").exists()]


async def test_hooks_are_set_on_all_nodes_after_the_votes_of_the_reference(
    cluster: Cluster, tmp_path: Path
) -> None:
    statuses = await set_hooks(cluster, dict.fromkeys(NAMES, archive(tmp_path, SCRIPT)))
    assert statuses == dict.fromkeys(NAMES, OK)
    assert [cluster.votes(name) for name in NAMES] == [VOTES] * 3
    assert installed(cluster) == [*NAMES]


async def test_hooks_are_restored_with_the_same_votes(cluster: Cluster, tmp_path: Path) -> None:
    data = archive(tmp_path, SCRIPT)
    request = RestoreCustomHooksRequest(repository=REPOSITORY, data=data)
    path = "/gitaly.RepositoryService/RestoreCustomHooks"
    requests = dict.fromkeys(NAMES, request)
    statuses = await cluster.change(path, requests, RestoreCustomHooksResponse)
    assert statuses == dict.fromkeys(NAMES, OK)
    assert [cluster.votes(name) for name in NAMES] == [VOTES] * 3


async def test_a_secondary_with_other_hooks_keeps_its_old_ones(
    cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    archives = dict.fromkeys(NAMES, archive(tmp_path, SCRIPT))
    archives["node-2"] = archive(tmp_path / "other", "#!/bin/sh\nexit 1\n")
    statuses = await set_hooks(cluster, archives)
    text = "setting custom hooks: casting prepared vote: vote failed: transaction was aborted"
    assert statuses == {"node-1": OK, "node-2": ("INTERNAL", text), "node-3": OK}
    assert installed(cluster) == ["node-1", "node-3"]
