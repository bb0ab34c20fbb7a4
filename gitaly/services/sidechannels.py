"""The sidechannel of a call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gitaly.errors import Internal, NodeError, Unavailable, entered
from gitaly.rpc import Call
from gitaly.transport.connections import Connection
from gitaly.transport.server_sidechannel import ServerSidechannel, open_sidechannel
from gitaly.transport.sidechannel import METADATA_KEY


@asynccontextmanager
async def sidechannel_of(
    call: Call, words: str, *, retryable: bool
) -> AsyncIterator[ServerSidechannel]:
    """The sidechannel that the client offers with this call, for the length of the block.

    If it cannot be opened: `words` and the reason, as Unavailable where trying again may help
    and `retryable` says that the client may know it, else as Internal.
    """
    connection = call.connection
    session = connection.session if isinstance(connection, Connection) else None

    def translated(error: NodeError) -> NodeError:
        kind = Unavailable if retryable and isinstance(error, Unavailable) else Internal
        return kind(f"{words}: {error.message}")

    async with entered(
        open_sidechannel(session, call.last(METADATA_KEY)), translated
    ) as sidechannel:
        call.beside = sidechannel
        yield sidechannel
