"""From an error to the status that a client sees: one table, and the rules around it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2

from gitaly import errors
from gitaly.limits import WAITED_TOO_LONG

OK: Final = grpc.StatusCode.OK

# Gitaly writes codes as Go does; dashboards and log searches know them by these names.
CODE_NAMES: Final[Mapping[grpc.StatusCode, str]] = MappingProxyType(
    {
        code: "OK" if code is OK else "".join(word.title() for word in code.name.split("_"))
        for code in grpc.StatusCode
    }
    | {grpc.StatusCode.CANCELLED: "Canceled"}
)

STATUS: Final[Mapping[type[BaseException], grpc.StatusCode]] = MappingProxyType(
    {
        errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
        errors.NotFound: grpc.StatusCode.NOT_FOUND,
        errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
        errors.Internal: grpc.StatusCode.INTERNAL,
        errors.Cancelled: grpc.StatusCode.CANCELLED,
        errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
        errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
        errors.Aborted: grpc.StatusCode.ABORTED,
        errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
        errors.DataLoss: grpc.StatusCode.DATA_LOSS,
        errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
        errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
        asyncio.CancelledError: grpc.StatusCode.CANCELLED,
    }
)
CANCELLED_TEXT: Final = "context canceled"
ABORTED_TEXT: Final = "The operation could not be completed. Please try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended."""

    code: grpc.StatusCode = OK
    message: str = ""
    details: tuple[Message, ...] = ()  # structured details, outermost first
    log_error: str = ""  # what the log says; never less than the client is told
    log_metadata: Mapping[str, object] = field(default_factory=dict)

    def as_deadline_exceeded(self) -> "Outcome":
        """The same, said of a call whose deadline has passed."""
        # What a queue says of a deadline is said already.
        late = self.code is grpc.StatusCode.CANCELLED and self.message != WAITED_TOO_LONG
        message = "context deadline exceeded" if late else self.message
        return replace(
            self,
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
            message=message,
            log_error=message if late else self.log_error,
        )

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The structured details as google.rpc.Status, where gRPC clients look for them."""
        if not self.details:
            return ()
        packed = []
        for detail in self.details:
            packed.append(any_pb2.Any())
            packed[-1].Pack(detail)
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)
        return (("grpc-status-details-bin", status.SerializeToString()),)


SUCCESS: Final = Outcome()


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status of the nearest class that has one; INTERNAL for what nobody foresaw."""
    return next((STATUS[c] for c in type(error).__mro__ if c in STATUS), grpc.StatusCode.INTERNAL)


def outcome_of(error: BaseException, correlation_id: str) -> Outcome:
    """What to tell client and log about an error.

    A programming error shows the client nothing but the correlation id, by which the operator
    finds the traceback in the log. An abort gets Gitaly's text for it: clients retry on the code
    and show the text to people. Source: internal/grpc/middleware/statushandler.
    """
    code = code_of(error)
    if not isinstance(error, errors.NodeError):
        if isinstance(error, asyncio.CancelledError):
            text = str(error) or CANCELLED_TEXT  # limits say where it happened
            return Outcome(code=code, message=text, log_error=text)
        text = f"internal error, correlation id {correlation_id}"
        return Outcome(code=code, message=text, log_error=f"{type(error).__name__}: {error}")
    metadata = dict(error.metadata)
    message = error.message
    if code is grpc.StatusCode.ABORTED:
        metadata["error_details"] = message
        message = ABORTED_TEXT
    return Outcome(
        code=code,
        message=message,
        details=error.details,
        log_error=error.message,
        log_metadata=metadata,
    )
