"""Three nodes behind an installed Praefect: GITALY_PRAEFECT_REFERENCE=/path/to/praefect."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import pytest

from gitaly._pb.repository_pb2 import CreateRepositoryRequest, CreateRepositoryResponse
from gitaly._pb.shared_pb2 import Repository
from gitaly.token import make_token
from tests.e2e.clients import ENVIRONMENT, run_git
from tests.e2e.node_process import NodeProcess, wait_until
from tests.interop.real_praefect import (
    OUTER,
    RealPraefect,
    cluster_node,
    postgres_programs,
    real_praefect,
)

PROGRAM: Final = os.environ.get("GITALY_PRAEFECT_REFERENCE", "")
NAMES: Final = ("node-1", "node-2", "node-3")

pytestmark = [
    pytest.mark.skipif(not PROGRAM, reason="GITALY_PRAEFECT_REFERENCE names no Praefect"),
    pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed"),
]


@dataclass
class Cluster:
    praefect: RealPraefect
    nodes: dict[str, NodeProcess]
    directory: Path
    work: Path

    def create(self, relative_path: str) -> str:
        """A new repository; the URL that git takes for it."""
        repository = Repository(storage_name="default", relative_path=relative_path)
        with grpc.insecure_channel(self.praefect.address) as channel:
            create = channel.unary_unary(
                "/gitaly.RepositoryService/CreateRepository",
                request_serializer=CreateRepositoryRequest.SerializeToString,
                response_deserializer=CreateRepositoryResponse.FromString,
            )
            create(
                CreateRepositoryRequest(repository=repository, default_branch=b"main"),
                metadata=(("authorization", make_token(OUTER.encode(), time.time())),),
                timeout=30,
            )
        return f"gitaly://{self.praefect.address}/default/{relative_path}"

    def git(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**ENVIRONMENT, "GITALY_TOKEN": OUTER}
        return subprocess.run(
            ["git", *arguments],
            cwd=self.work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def push(self, *arguments: str) -> None:
        done = self.git("push", "--quiet", *arguments)
        assert done.returncode == 0, done.stderr

    def references(self, name: str) -> list[list[str]]:
        """Of each repository that a node has, by a git that asks nobody."""
        root = self.directory / name / name
        return [
            run_git("--git-dir", str(path), "for-each-ref").splitlines()
            for path in sorted(root.glob("@cluster/repositories/*/*/*"))
        ]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="praefect") as temporary:
        directory = Path(temporary)
        nodes = {name: cluster_node(directory / name, name) for name in NAMES}
        for node in nodes.values():
            node.start()
        work = directory / "work"
        run_git("init", "--quiet", "--initial-branch=main", str(work))
        for number in range(3):
            run_git("commit", "--quiet", "--allow-empty", "--message", str(number), cwd=work)
        with real_praefect(Path(PROGRAM), directory, list(nodes.items())) as praefect:
            yield Cluster(praefect, nodes, directory, work)
        for node in nodes.values():
            node.stop()


def test_praefect_finds_its_nodes_healthy_and_consistent(cluster: Cluster) -> None:
    found = cluster.praefect.ask("dial-nodes")
    assert found.count("SUCCESS: node is healthy!") == 3
    assert found.count("SUCCESS: node configuration is consistent!") == 3


def test_whatever_is_pushed_is_on_every_node_and_praefect_knows_it(cluster: Cluster) -> None:
    url = cluster.create("@hashed/aa/bb/one.git")
    cluster.push(url, "HEAD~2:refs/heads/main")
    cluster.push(url, "main", "main:topic", "HEAD~1:refs/heads/old")
    cluster.push(url, "--force", "HEAD~1:main")
    cluster.push(url, ":topic")
    run_git("tag", "--annotate", "--message=v", "v1", cwd=cluster.work)
    cluster.push(url, "--tags")
    first, *others = (cluster.references(name) for name in NAMES)
    assert [line.split("\t")[1] for line in first[0]] == [
        "refs/heads/main",
        "refs/heads/old",
        "refs/tags/v1",
    ]
    assert others == [first, first]
    lost = cluster.praefect.ask("dataloss", "--partially-unavailable")
    assert "All repositories are fully available on all assigned storages!" in lost
    listed = cluster.git("ls-remote", url).stdout
    assert listed.count("refs/") == 4  # the tag also peeled


def test_pushes_go_on_while_a_node_is_gone(cluster: Cluster) -> None:
    url = cluster.create("@hashed/aa/cc/two.git")
    cluster.push(url, "HEAD~2:refs/heads/main")
    cluster.nodes["node-3"].kill()
    # Praefect notices within ten seconds, and elects another primary if that was the one.
    wait_until(lambda: cluster.git("push", url, "main").returncode == 0, "a push to succeed")
    cluster.nodes["node-3"].start()
    one, two = (cluster.references(name)[-1] for name in NAMES[:2])
    assert one == two
    assert one[0].startswith(run_git("rev-parse", "main", cwd=cluster.work))
