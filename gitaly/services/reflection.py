"""gRPC reflection, so that grpcurl and the like find the contract. Needs a token like the rest."""

from collections.abc import AsyncIterator, Iterable

from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from gitaly.rpc import Call


class ReflectionServicer:
    """Answers from the descriptors of this process."""

    SERVICE = "grpc.reflection.v1alpha.ServerReflection"

    def __init__(self, services: Iterable[str]) -> None:
        self._inner = reflection.aio.ReflectionServicer(sorted(services))

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[ServerReflectionRequest], call: Call
    ) -> AsyncIterator[ServerReflectionResponse]:
        async for response in self._inner.ServerReflectionInfo(requests, call):
            yield response
