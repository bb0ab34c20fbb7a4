"""Servicers whose calls end when a test says so, behind limits that it chooses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.rpc import status_pb2

from gitaly._pb import ref_pb2, repository_pb2, shared_pb2, ssh_pb2
from gitaly._pb.errors_pb2 import LimitError
from gitaly.rpc import Call
from tests.rpc.conftest import Answer, Served
from tests.transport.wires import until

EXISTS = "/gitaly.RepositoryService/RepositoryExists"
LIST = "/gitaly.RefService/ListRefs"
RECEIVE = "/gitaly.SSHService/SSHReceivePack"
REPLICATE = "/gitaly.RepositoryService/ReplicateRepository"
ONE = "max_concurrency = 1\nmax_queue_size = 1\n"


def table(rpc: str, text: str) -> str:
    return f'[[concurrency]]\nrpc = "{rpc}"\n{text}\n'


def repository(path: str = "a.git") -> shared_pb2.Repository:
    return shared_pb2.Repository(storage_name="default", relative_path=path)


def exists(path: str = "a.git") -> bytes:
    request = repository_pb2.RepositoryExistsRequest(repository=repository(path))
    return request.SerializeToString()


class Slow:
    """Calls that begin in the order of `begun` and end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def work(self, call: Call) -> None:
        self.begun.append(call.metadata.get("call_site", ""))
        await self.may_end.acquire()
        if self.error is not None:
            raise self.error

    async def until_begun(self, count: int) -> None:
        await until(lambda: len(self.begun) >= count)


class Repositories(Slow):
    SERVICE = "gitaly.RepositoryService"

    async def RepositoryExists(self, _: Any, call: Call) -> repository_pb2.RepositoryExistsResponse:
        await self.work(call)
        return repository_pb2.RepositoryExistsResponse(exists=True)

    async def ReplicateRepository(
        self, _: Any, call: Call
    ) -> repository_pb2.ReplicateRepositoryResponse:
        await self.work(call)
        return repository_pb2.ReplicateRepositoryResponse()


class Refs(Slow):
    SERVICE = "gitaly.RefService"

    async def ListRefs(self, _: Any, call: Call) -> AsyncIterator[ref_pb2.ListRefsResponse]:
        yield ref_pb2.ListRefsResponse()
        await self.work(call)


class Ssh(Slow):
    SERVICE = "gitaly.SSHService"

    async def SSHReceivePack(
        self, requests: AsyncIterator[ssh_pb2.SSHReceivePackRequest], call: Call
    ) -> AsyncIterator[ssh_pb2.SSHReceivePackResponse]:
        await anext(requests)
        yield ssh_pb2.SSHReceivePackResponse()
        await self.work(call)


def asking(node: Served, path: str, request: bytes, site: str = "", **more: Any) -> Any:
    metadata = [("username", "jane"), *([("call_site", site)] if site else [])]
    more.setdefault("metadata", metadata)
    return asyncio.create_task(node.ask(path, request, **more))


def limiting(node: Served, name: str, rpc: str = EXISTS, **more: str) -> float | None:
    service, _, method = rpc[1:].partition("/")
    labels = {"system": "gitaly", "grpc_service": service, "grpc_method": method, **more}
    return node.registry.get_sample_value(name, labels)


def queued(node: Served, rpc: str = EXISTS) -> float | None:
    return limiting(node, "gitaly_concurrency_limiting_queued", rpc)


def in_progress(node: Served, rpc: str = EXISTS) -> float | None:
    return limiting(node, "gitaly_concurrency_limiting_in_progress", rpc)


def detail_of(answer: Answer) -> LimitError:
    raw = answer.trailers["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    (packed,), error = status_pb2.Status.FromString(raw).details, LimitError()
    assert packed.Unpack(error)
    return error


def replicate(path: str) -> bytes:
    request = repository_pb2.ReplicateRepositoryRequest(
        repository=repository(path), source=repository("source.git")
    )
    return request.SerializeToString()
