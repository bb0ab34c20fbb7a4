"""The gRPC core behind a listener: bound to a private socket that only our relays reach."""

from collections.abc import Sequence

import grpc
from grpc import aio

from gitaly.rpc.corking import can_cork
from gitaly.rpc.server import OPTIONS


class Core:
    """One grpc.aio server on a unix socket."""

    def __init__(self, path: str, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.path = path
        self._handlers = handlers
        self._server: aio.Server | None = None

    async def start(self) -> None:
        """Serve."""
        can_cork()
        self._server = aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers(tuple(self._handlers))
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()

    async def stop(self, grace_seconds: float | None) -> None:
        """Take no new calls, let running ones end within the grace, then cancel them.

        None: cancel them now, also while an earlier stop still waits.
        """
        if self._server is not None:
            await self._server.stop(grace_seconds)
