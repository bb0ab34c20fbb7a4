"""Calls of a Go client on one connection: many at once, compressed, and late."""

from pathlib import Path

import pytest

from gitaly._pb.repository_pb2 import RepositoryExistsRequest
from gitaly._pb.shared_pb2 import Repository
from tests.faults.nodes import a_node, make_repository
from tests.interop.conftest import Peer

EXISTS = "/gitaly.RepositoryService/RepositoryExists"
STYLES = pytest.mark.parametrize("style", [["-plain"], []], ids=["plain", "multiplexed"])


def exists(path: str) -> list[str]:
    request = RepositoryExistsRequest(
        repository=Repository(storage_name="default", relative_path=path)
    )
    return ["-method", EXISTS, "-request", request.SerializeToString().hex()]


@STYLES
async def test_a_thousand_calls_at_once_share_one_connection(
    peer: Peer, tmp_path: Path, style: list[str]
) -> None:
    make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        flags = ["-address", served.address("tcp"), *style, "-calls", "1000"]
        reports = await peer(*flags, *exists("a.git"))
        assert {(r.code, r.response) for r in reports} == {("OK", b"\x08\x01")}
        assert len(reports) == 1000
        registry = served.node.registry
        assert registry.get_sample_value("gitaly_connections_total", {"type": "tcp"}) == 1


@STYLES
async def test_a_client_may_compress_its_request(
    peer: Peer, tmp_path: Path, style: list[str]
) -> None:
    make_repository(tmp_path)
    async with a_node(tmp_path) as served:
        flags = ["-address", served.address("tcp"), *style, "-gzip", *exists("a.git")]
        [report] = await peer(*flags)
        assert (report.code, report.response) == ("OK", b"\x08\x01")


async def test_a_deadline_that_has_nearly_passed_is_told_as_one(peer: Peer, tmp_path: Path) -> None:
    async with a_node(tmp_path) as served:
        flags = ["-address", served.address("tcp"), "-plain", "-deadline", "1us"]
        [report] = await peer(*flags, *exists("a.git"))
        assert report.code == "DeadlineExceeded"
        assert await served.is_healthy()
