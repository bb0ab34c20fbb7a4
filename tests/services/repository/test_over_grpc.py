"""Large answers over real connections: what they cost the node, and how they end."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gitaly._pb.repository_pb2 import (
    GetArchiveRequest,
    GetArchiveResponse,
    SearchFilesByContentRequest,
    SearchFilesByContentResponse,
)
from tests.faults.processes import Process, process
from tests.git.support import Bare, children_of, run_git
from tests.services.repository.filling import commit_files
from tests.storage.support import message
from tests.transport.wires import until

MIB = 1 << 20
LARGE = 120 * MIB
LIMIT = 64 * MIB


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a storage that has one repository with one large file."""
    directory = tmp_path_factory.mktemp("o")
    (directory / "storage").mkdir()
    path = str(directory / "storage/a.git")
    run_git("init", "--bare", "--quiet", "--template=", path)
    commit_files(Bare(path), {"large": (b"needle" + b"x" * 993 + b"\n") * (LARGE // 1000 + 1)})
    return directory


@pytest.fixture
def node(directory: Path) -> Iterator[Process]:
    with process(directory) as started:
        yield started


def is_serving(node: Process) -> bool:
    try:
        node.connect().close()
    except OSError:
        return False
    return True


def peak_bytes(node: Process) -> int:
    """The most memory that the node has had so far."""
    status = Path(f"/proc/{node.child.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def call_of(channel: grpc.Channel, name: str, request: Any, response: Any) -> Any:
    """A call of RepositoryService; Any, because its stubs are not typed."""
    method: Any = channel.unary_stream(
        f"/gitaly.RepositoryService/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    return method(request, timeout=100)


def size_of(call: Any, field: str) -> int:
    return sum(len(getattr(part, field)) for part in call)


def archive(channel: grpc.Channel) -> Any:
    request = GetArchiveRequest(
        repository=message(), commit_id="main", format=GetArchiveRequest.TAR
    )
    return call_of(channel, "GetArchive", request, GetArchiveResponse)


def search(channel: grpc.Channel) -> Any:
    request = SearchFilesByContentRequest(repository=message(), ref=b"main", query="needle")
    return call_of(channel, "SearchFilesByContent", request, SearchFilesByContentResponse)


async def test_120_mib_stream_in_64_mib_of_memory(node: Process) -> None:
    await until(lambda: is_serving(node))
    with grpc.insecure_channel(f"unix:{node.directory}/node.sock") as channel:
        await asyncio.to_thread(next, search(channel))  # everything is loaded now
        before = peak_bytes(node)
        for call, field in ((archive(channel), "data"), (search(channel), "match_data")):
            assert await asyncio.to_thread(size_of, call, field) > LARGE
        assert peak_bytes(node) - before < LIMIT


async def test_a_client_that_reads_no_more_costs_no_memory_and_may_go(node: Process) -> None:
    await until(lambda: is_serving(node))
    with grpc.insecure_channel(f"unix:{node.directory}/node.sock") as channel:
        calls = [archive(channel), archive(channel)]
        for call in calls:
            await asyncio.to_thread(next, call)
        await until(lambda: len(children_of(node.child.pid)) == 2)
        before = peak_bytes(node)
        await asyncio.sleep(0.5)  # time enough to read everything into memory
        assert peak_bytes(node) - before < LIMIT
        calls[0].cancel()
        await until(lambda: len(children_of(node.child.pid)) == 1)
    await until(lambda: children_of(node.child.pid) == [])
