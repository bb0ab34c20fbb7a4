"""What Praefect asks a node before it trusts it, and what it sends along with every call."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gitaly._pb.repository_pb2 import (
    RepositoryExistsRequest,
    RepositoryExistsResponse,
    RepositorySizeRequest,
    RepositorySizeResponse,
)
from gitaly._pb.server_pb2 import (
    ReadinessCheckRequest,
    ReadinessCheckResponse,
    ServerInfoRequest,
    ServerInfoResponse,
)
from gitaly._pb.shared_pb2 import Repository
from gitaly.client.calls import CallFailed, unary
from gitaly.token import make_token
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import HEALTH, Served, a_node
from tests.storage.support import skeleton
from tests.transactions.praefect import Metadata, a_praefect, header

INFO = "/gitaly.ServerService/ServerInfo"
READINESS = "/gitaly.ServerService/ReadinessCheck"
EXISTS = "/gitaly.RepositoryService/RepositoryExists"
SIZE = "/gitaly.RepositoryService/RepositorySize"
POOL = "@cluster/pools/d4/73/2"
FLAGS = ["bundle-generation", "git-master", "gpg-signing", "limit-unauthenticated", "of-tomorrow"]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with a_node(tmp_path, extra='auth.token = "node-secret"') as served:
        yield served


def bearer(secret: bytes) -> tuple[str, str]:
    return "authorization", make_token(secret, time.time())


async def ask(
    served: Served, path: str, request: Message, answer: type[Message], metadata: Metadata
) -> Message:
    """As `praefect check` and `praefect dial-nodes` do: plain gRPC."""
    with grpc.insecure_channel(served.address("unix")) as channel:
        return await unary(channel, path, request, answer, metadata)


async def test_the_node_passes_what_dial_nodes_asks(served: Served) -> None:
    token = [bearer(b"node-secret")]
    health = await ask(served, HEALTH, HealthCheckRequest(), HealthCheckResponse, token)
    assert health == HealthCheckResponse(status=HealthCheckResponse.SERVING)
    info = await ask(served, INFO, ServerInfoRequest(), ServerInfoResponse, token)
    assert isinstance(info, ServerInfoResponse)
    told = [(x.storage_name, x.readable, x.writeable) for x in info.storage_statuses]
    assert told == [("default", True, True)]
    ready = await ask(served, READINESS, ReadinessCheckRequest(), ReadinessCheckResponse, token)
    assert ready == ReadinessCheckResponse(ok_response=ReadinessCheckResponse.Ok())


async def test_praefect_without_a_token_sends_one_that_is_refused(served: Served) -> None:
    with pytest.raises(CallFailed) as caught:
        await ask(served, INFO, ServerInfoRequest(), ServerInfoResponse, [bearer(b"")])
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    health = await ask(served, HEALTH, HealthCheckRequest(), HealthCheckResponse, [bearer(b"")])
    assert health == HealthCheckResponse(status=HealthCheckResponse.SERVING)


async def test_a_node_without_a_token_does_not_mind_that_praefect_sends_one(
    tmp_path: Path,
) -> None:
    async with a_node(tmp_path) as served:
        await ask(served, INFO, ServerInfoRequest(), ServerInfoResponse, [bearer(b"")])


def everything() -> Metadata:
    """What comes with a call that Praefect carries on, and what may come one day."""
    return [
        bearer(b"node-secret"),
        bearer(b"praefect-secret"),  # its client's
        ("virtual_storage", "default"),
        *((f"gitaly-feature-{name}", "true") for name in FLAGS),
        ("gitaly-servers", "e30=" * 25_000),
        ("gitaly-sidechannel-id", "1"),
        ("gitaly-sidechannel-id", "2"),
        ("gitaly-partitioning-hint", "@hashed/aa/bb.git"),
        ("gitaly-route-repository-accessor-policy", "primary-only"),
        ("user_id", "1"),
        ("username", "jane"),
        ("remote_ip", "10.0.0.1"),
        ("x-gitlab-correlation-id", "abc"),
        ("x-gitlab-correlation-id", "abc"),
        ("gitaly-of-tomorrow", "yes"),
        *header(7, "node-1"),
    ]


@pytest.mark.parametrize("path", ["@cluster/repositories/6b/86/1", POOL])
async def test_calls_come_with_metadata_to_paths_of_praefect(served: Served, path: str) -> None:
    skeleton(served.directory / "storage", path)
    repository = Repository(storage_name="default", relative_path=path, gl_repository="project-1")
    async with a_praefect() as praefect:
        link = praefect.connect(served, "node-1")
        exists = RepositoryExistsRequest(repository=repository)
        answer = await link.call(EXISTS, exists, RepositoryExistsResponse, everything())
        assert answer == ("OK", "")
        size = RepositorySizeRequest(repository=repository)
        answer = await link.call(SIZE, size, RepositorySizeResponse, everything())
        assert answer == ("OK", "")
    line = next(x for x in served.lines() if x.get("grpc.method") == "RepositorySize")
    assert (line["correlation_id"], line["username"]) == ("abc", "jane")
    assert line["feature_flags"].split() == [name.replace("-", "_") for name in FLAGS]


async def test_a_storage_that_is_not_mounted_is_an_error_and_not_an_absence(
    served: Served,
) -> None:
    """Praefect forgets a replica of which it is told that it does not exist."""
    (served.directory / "storage").rename(served.directory / "unmounted")
    repository = Repository(storage_name="default", relative_path="@cluster/repositories/6b/86/1")
    request = RepositoryExistsRequest(repository=repository)
    with pytest.raises(CallFailed) as caught:
        await ask(served, EXISTS, request, RepositoryExistsResponse, [bearer(b"node-secret")])
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.message == "storage does not exist"


@pytest.mark.parametrize(("size", "code"), [(4_000_000, "OK"), (4_300_000, "RESOURCE_EXHAUSTED")])
async def test_requests_may_have_four_mebibytes(served: Served, size: int, code: str) -> None:
    repository = Repository(storage_name="default", relative_path="x", gl_repository="x" * size)
    request = RepositoryExistsRequest(repository=repository)
    async with a_praefect() as praefect:
        link = praefect.connect(served, "node-1")
        answer = await link.call(
            EXISTS, request, RepositoryExistsResponse, [bearer(b"node-secret")]
        )
    assert answer[0] == code
