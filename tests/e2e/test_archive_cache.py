"""A node with an archive cache, as an operator runs it."""

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.repository_pb2 import (
    GetArchiveRequest,
    GetArchiveResponse,
    RemoveRepositoryRequest,
    RemoveRepositoryResponse,
)
from gitaly._pb.shared_pb2 import Repository
from tests.e2e.clients import Way, commit
from tests.e2e.conftest import make_bare
from tests.e2e.looking import Looker
from tests.e2e.node_process import NodeProcess, wait_until
from tests.e2e.reloading import append, edit, reload, reloaded

CACHE = "[archive_cache]\nenabled = true\n"
Make = Callable[[str], NodeProcess]


@pytest.fixture
def caching(own_node: Make) -> Iterator[NodeProcess]:
    node = own_node(CACHE)
    yield node
    assert node.errors() == []


def archive(node: NodeProcess, name: str, revision: str = "main") -> bytes:
    """A tar of everything, over a connection of its own."""
    request = GetArchiveRequest(
        repository=Repository(storage_name="default", relative_path=name),
        commit_id=revision,
        prefix="p",
        format=GetArchiveRequest.TAR,
    )
    with grpc.insecure_channel(f"127.0.0.1:{node.tcp}") as channel:
        call: Any = channel.unary_stream(  # its stubs are not typed
            "/gitaly.RepositoryService/GetArchive",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetArchiveResponse.FromString,
        )
        return b"".join(part.data for part in call(request, timeout=60))


def remove(node: NodeProcess, name: str) -> None:
    repository = Repository(storage_name="default", relative_path=name)
    with grpc.insecure_channel(f"127.0.0.1:{node.tcp}") as channel:
        call: Any = channel.unary_unary(
            "/gitaly.RepositoryService/RemoveRepository",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=RemoveRepositoryResponse.FromString,
        )
        call(RemoveRepositoryRequest(repository=repository), timeout=60)


def names_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [entry.name for entry in tar if entry.isfile()]


def calls(node: NodeProcess) -> list[dict[str, Any]]:
    """The lines of finished calls."""
    lines = node.lines()
    return [x for x in lines if x.get("grpc.method") == "GetArchive" and "grpc.code" in x]


def cache_files(node: NodeProcess) -> list[Path]:
    cache = node.storage / "+gitaly/ArchiveCache"
    return [path for path in cache.glob("??/*") if path.is_file()]


def test_a_storm_of_downloads_runs_one_git(
    caching: NodeProcess, node: NodeProcess, big: Path, name: str
) -> None:
    make_bare(caching, name, source=big)
    make_bare(node, name, source=big)
    with ThreadPoolExecutor(12) as threads:
        storm = threads.map(lambda _: archive(caching, name), range(12))
        found = {hashlib.sha256(data).hexdigest() for data in storm}
    assert found == {hashlib.sha256(archive(node, name)).hexdigest()}
    wait_until(lambda: len(calls(caching)) == 12, "the last line of the log")
    lines = calls(caching)
    assert sum("archive_cache.generated_bytes" in line for line in lines) == 1
    assert len({line["archive_cache.key"] for line in lines}) == 1
    assert sorted(line["archive_cache.hit"] for line in lines) == ["false"] + ["true"] * 11
    said = Looker(caching).gitaly("status").stdout
    assert re.search(r"archive cache: 1 archives, \S+ MiB; 11 hits \(\d+ joined\), 1 misses", said)


def test_a_push_and_a_removal_are_seen_at_once(caching: NodeProcess, work: Path, name: str) -> None:
    make_bare(caching, name, source=work)
    before = archive(caching, name)
    commit(work, "four", "new")
    way = Way(node=caching, repository=name)
    way.git("push", "--quiet", way.url, "main", cwd=work)
    after = archive(caching, name)
    assert set(names_in(after)) - set(names_in(before)) == {"p/new"}
    remove(caching, name)
    with pytest.raises(grpc.RpcError) as caught:
        archive(caching, name)
    error: Any = caught.value  # RpcError says too little about itself
    assert error.code() is grpc.StatusCode.NOT_FOUND
    make_bare(caching, name, source=work)
    assert archive(caching, name) == after
    wait_until(lambda: len(calls(caching)) == 4, "the last line of the log")
    assert [line.get("archive_cache.hit") for line in calls(caching)] == [
        "false",
        "false",
        None,
        "false",
    ]


def test_a_node_that_stops_takes_its_files_along_and_one_that_is_killed_leaves_none_to_serve(
    caching: NodeProcess, work: Path, name: str
) -> None:
    make_bare(caching, name, source=work)
    found = archive(caching, name)
    (left,) = cache_files(caching)
    caching.kill()
    caching.start()
    wait_until(lambda: not left.exists(), "the sweep")
    assert archive(caching, name) == found
    caching.stop()
    assert cache_files(caching) == []
    caching.start()


def test_its_settings_change_while_the_node_runs(
    caching: NodeProcess, work: Path, name: str
) -> None:
    make_bare(caching, name, source=work)
    archive(caching, name)
    assert len(cache_files(caching)) == 1
    edit(caching, CACHE, f"{CACHE}max_bytes = 1\n")
    assert reloaded(caching)["changed"] == "archive_cache.max_bytes"
    wait_until(lambda: cache_files(caching) == [], "the archive to go")
    edit(caching, "max_bytes = 1\n", "min_occurrences = 1\n")
    assert reloaded(caching)["changed"] == "archive_cache.min_occurrences, archive_cache.max_bytes"
    archive(caching, name, "main~1")
    wait_until(lambda: cache_files(caching) == [], "the archive to go")
    archive(caching, name, "main~1")
    assert len(cache_files(caching)) == 1


def test_git_s_configuration_that_changes_while_the_node_runs_changes_archives(
    caching: NodeProcess, work: Path, name: str
) -> None:
    make_bare(caching, name, source=work)
    before = archive(caching, name)
    append(caching, '[[git.config]]\nkey = "tar.umask"\nvalue = "0077"\n')
    reloaded(caching)
    assert archive(caching, name) != before


def test_it_is_not_switched_off_without_a_restart(
    caching: NodeProcess, work: Path, name: str
) -> None:
    make_bare(caching, name, source=work)
    edit(caching, "enabled = true", "enabled = false")
    line = reload(caching)
    assert line["msg"] == "configuration reloaded, but not all of it"
    assert "archive_cache.enabled" in line["needs_restart"]
    archive(caching, name)
    assert len(cache_files(caching)) == 1


def test_a_node_without_it_keeps_nothing_and_says_nothing_of_it(
    node: NodeProcess, work: Path, name: str
) -> None:
    make_bare(node, name, source=work)
    seen = len(calls(node))
    for _ in range(2):
        archive(node, name)
    wait_until(lambda: len(calls(node)) == seen + 2, "the last line of the log")
    assert not [key for line in calls(node) for key in line if key.startswith("archive_cache")]
    assert not (node.storage / "+gitaly/ArchiveCache").exists()
