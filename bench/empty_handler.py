"""A grpc.aio server that answers every call with nothing."""

import asyncio
import sys
from typing import Any

import grpc
from grpc import aio


async def answer(_: bytes, __: object) -> bytes:
    return b""


class Everything(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._handler: Any = grpc.unary_unary_rpc_method_handler(answer)

    def service(self, _: grpc.HandlerCallDetails) -> Any:  # generic in the type stubs only
        return self._handler


async def main() -> None:
    server = aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
