"""How a transaction fails, in words that are the same on every node.

Praefect compares what nodes answer: a text that names a socket or a path would cost this node's
copy of the repository its rank.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import grpc
from grpc import aio

from gitaly import errors
from gitaly.errors import NodeError
from gitaly.storage import VoteFailed


class TransactionAborted(VoteFailed):
    """The nodes did not arrive at the same."""

    def __init__(self) -> None:
        super().__init__("transaction was aborted")


class TransactionStopped(VoteFailed):
    """Somebody has refused the change, and said so: a hook, as a rule."""

    def __init__(self) -> None:
        super().__init__("transaction was stopped")


# A vote that gets no answer but a status keeps its code, as with the reference.
KINDS: Final[Mapping[grpc.StatusCode, type[NodeError]]] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
        grpc.StatusCode.NOT_FOUND: errors.NotFound,
        grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
        grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
        grpc.StatusCode.INTERNAL: errors.Internal,
        grpc.StatusCode.CANCELLED: errors.Cancelled,
        grpc.StatusCode.ABORTED: errors.Aborted,
        grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
        grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
        grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    }
)


def failure_of(error: aio.AioRpcError, seconds: float) -> NodeError:
    """What has become of a vote that was given `seconds`, and got no answer but a status."""
    code = error.code()
    if code is grpc.StatusCode.UNAVAILABLE:  # the core's words name sockets of ours
        return errors.Unavailable("connection to praefect lost")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(f"transaction timeout {seconds:g}s exceeded")
    return KINDS.get(code, VoteFailed)(error.details() or "no reason given")
