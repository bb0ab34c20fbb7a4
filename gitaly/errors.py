"""The errors that rooms raise in their own words.

The message is what a client reads, so it never holds a path of the server; `metadata` is for the
log only. Which gRPC status belongs to which class is known to `gitaly.rpc` alone.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import TypeVar

from google.protobuf.message import Message

T = TypeVar("T")


class NodeError(Exception):
    """Something went wrong in a way that the node foresaw."""

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata
        self.details: tuple[Message, ...] = ()  # structured details for the client

    def __str__(self) -> str:
        return self.message


class InvalidRequest(NodeError):
    """The request cannot be right, whatever the state of the node."""


class NotFound(NodeError):
    """What the request names does not exist."""


class AlreadyExists(NodeError):
    """What the request wants to make exists already."""


class FailedPrecondition(NodeError):
    """The node or the repository is not in the state that the request needs."""


class Internal(NodeError):
    """The node failed, or git did for a reason that is not the request's."""


class Cancelled(NodeError):
    """The client went away while its call ran."""


class DeadlineExceeded(NodeError):
    """A time limit of the node ran out."""


class Unavailable(NodeError):
    """It may work if it is tried again."""


class Aborted(NodeError):
    """Others did not agree, or somebody was faster."""


class ResourceExhausted(NodeError):
    """A limit is reached."""


class DataLoss(NodeError):
    """Data on disk are not what they should be."""


class Unimplemented(NodeError):
    """The node does not offer this."""


class Unauthenticated(NodeError):
    """Nobody said who is calling."""


class PermissionDenied(NodeError):
    """Somebody said who is calling, and it is not believed."""


@contextmanager
def prefixed(text: str) -> Iterator[None]:
    """Put "text: " before the message of a NodeError that passes; its class stays.

    This is how Gitaly's texts grow: outer words are added, the innermost status wins.
    """
    try:
        yield
    except NodeError as error:
        error.message = f"{text}: {error.message}"
        raise


@asynccontextmanager
async def entered(
    context: AbstractAsyncContextManager[T], translated: Callable[[NodeError], NodeError]
) -> AsyncIterator[T]:
    """`context`, whose NodeError at its entrance, and only there, becomes another one."""
    async with AsyncExitStack() as stack:
        try:
            value = await stack.enter_async_context(context)
        except NodeError as error:
            raise translated(error) from error
        yield value
