"""Nodes and repositories for tests with real clients."""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Way, commit, run_git
from tests.e2e.node_process import NodeProcess

BIG_FILES = 120  # too many to be unpacked by a push
BIG_FILE_BYTES = 256 * 1024  # that nothing can compress


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1; its key is beside it."""
    directory = tmp_path_factory.mktemp("tls")
    path = directory / "node.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=node"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", path.with_suffix(".key"), "-out", path),
        ],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture(scope="session")
def shared_node(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path_factory.mktemp("n"), certificate=certificate)
    node.start()
    repository = node.storage / "warm.git"
    run_git("init", "--quiet", "--bare", str(repository))
    for listener in ("tcp", "tls", "unix"):
        way = Way(node=node, repository="warm.git", listener=listener)
        way.git("ls-remote", way.url)
    yield node
    node.stop()


@pytest.fixture
def node(shared_node: NodeProcess) -> Iterator[NodeProcess]:
    """The node of all tests; each leaves it as it was."""
    with shared_node.quiet_afterwards():
        yield shared_node


@pytest.fixture
def own_node(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path
) -> Iterator[Callable[[str], NodeProcess]]:
    """Makes a node with lines of configuration of its own; stops it after the test."""
    nodes: list[NodeProcess] = []

    def make(extra: str = "") -> NodeProcess:
        directory = tmp_path_factory.mktemp("n")  # short: there is a socket in it
        node = NodeProcess(directory, extra=extra, certificate=certificate)
        nodes.append(node)
        node.start()
        return node

    yield make
    for node in nodes:
        node.stop()


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def name(numbers: Iterator[int]) -> str:
    """Of a repository that no other test has."""
    return f"r{next(numbers)}.git"


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository whose pack is larger than all buffers between two programs."""
    path = tmp_path_factory.mktemp("big") / "big.git"
    run_git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    stream = bytearray()
    for number in range(1, BIG_FILES + 1):
        stream += b"blob\nmark :%d\ndata %d\n%s\n" % (
            number,
            BIG_FILE_BYTES,
            os.urandom(BIG_FILE_BYTES),
        )
    stream += b"commit refs/heads/main\ncommitter Jane <j@example.com> 1700000000 +0000\ndata 0\n"
    for number in range(1, BIG_FILES + 1):
        stream += b"M 100644 :%d file%d\n" % (number, number)
    run_git("fast-import", "--quiet", "--depth=0", cwd=path, data=bytes(stream))
    run_git("repack", "-adq", "--window=0", cwd=path)  # one pack, which nobody tries to improve
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work tree with three commits on main, and an annotated tag on the second."""
    return make_work(tmp_path / "work")


def make_work(path: Path, *options: str) -> Path:
    run_git("init", "--quiet", "--initial-branch=main", *options, str(path))
    commit(path, "one")
    commit(path, "two", "other")
    run_git("tag", "--annotate", "--message=v1", "v1", cwd=path)
    commit(path, "three")
    return path


def make_bare(node: NodeProcess, name: str, *options: str, source: Path | None = None) -> Path:
    """A repository at a node; a copy of another one if there is a source."""
    path = node.storage / name
    if source is None:
        run_git("init", "--quiet", "--bare", "--initial-branch=main", *options, str(path))
    else:
        run_git("clone", "--quiet", "--bare", "--local", str(source), str(path))
    return path


@pytest.fixture
def demo(node: NodeProcess, name: str, work: Path) -> Way:
    """A repository at the node with what is in `work`, reached by the helper over TCP."""
    make_bare(node, name, source=work)
    return Way(node=node, repository=name)
