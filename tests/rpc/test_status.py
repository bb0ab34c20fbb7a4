import asyncio

import grpc
import pytest
from google.rpc import status_pb2

from gitaly import errors
from gitaly._pb.errors_pb2 import LimitError
from gitaly.rpc.status import CODE_NAMES, code_of, outcome_of


class Peculiar(errors.FailedPrecondition):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequest("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (Peculiar("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.NodeError("x"), grpc.StatusCode.INTERNAL),
        (asyncio.CancelledError(), grpc.StatusCode.CANCELLED),
        (ValueError("x"), grpc.StatusCode.INTERNAL),
    ],
)
def test_the_nearest_class_decides_the_code(error: BaseException, code: grpc.StatusCode) -> None:
    assert code_of(error) is code


def test_codes_are_written_as_go_writes_them() -> None:
    names = {CODE_NAMES[code] for code in grpc.StatusCode}
    assert {"OK", "Canceled", "InvalidArgument", "DeadlineExceeded", "DataLoss"} <= names


def test_outer_words_are_added_and_the_innermost_code_stays() -> None:
    with pytest.raises(errors.NotFound) as raised, errors.prefixed("outer"):
        raise errors.NotFound("inner")
    assert str(raised.value) == "outer: inner"


def test_a_bug_shows_the_client_nothing_but_the_correlation_id() -> None:
    outcome = outcome_of(KeyError("/srv/secret/path"), "abc-123")
    assert outcome.message == "internal error, correlation id abc-123"
    assert outcome.log_error == "KeyError: '/srv/secret/path'"


def test_metadata_of_an_error_are_for_the_log_only() -> None:
    outcome = outcome_of(errors.NotFound("repository not found", path="/srv/x"), "id")
    assert outcome.message == "repository not found"
    assert outcome.log_metadata == {"path": "/srv/x"}


def test_an_abort_has_the_text_that_people_see_and_its_own_in_the_log() -> None:
    outcome = outcome_of(errors.Aborted("transaction was aborted"), "id")
    assert outcome.message == "The operation could not be completed. Please try again."
    assert outcome.log_metadata == {"error_details": "transaction was aborted"}


def test_structured_details_travel_as_a_status_message() -> None:
    error = errors.ResourceExhausted("maximum queue size reached")
    error.details = (LimitError(error_message="maximum queue size reached"),)
    ((key, value),) = outcome_of(error, "id").trailing_metadata()
    assert key == "grpc-status-details-bin"
    status = status_pb2.Status.FromString(value)
    assert (status.code, status.message) == (8, "maximum queue size reached")
    assert status.details[0].type_url == "type.googleapis.com/gitaly.LimitError"


def test_a_call_past_its_deadline_says_so_and_keeps_the_text() -> None:
    late = outcome_of(errors.Internal("running git: exit status 128"), "id").as_deadline_exceeded()
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert late.message == "running git: exit status 128"
    cancelled = outcome_of(asyncio.CancelledError(), "id").as_deadline_exceeded()
    assert cancelled.message == "context deadline exceeded"
