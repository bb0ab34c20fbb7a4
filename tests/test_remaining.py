"""What a node says of its running calls."""

import pytest
from grpc_health.v1 import health_pb2

from gitaly.git import Account
from gitaly.remaining import age, remaining
from gitaly.rpc import Call, method_of, node_services

METHODS = {method.name: method for methods in node_services().values() for method in methods}


def calls(*names: str, started: float = 0.0) -> list[Call]:
    return [
        Call(
            method=METHODS[name],
            metadata={},
            all_metadata=(),
            started=started,
            account=Account(grpc_service="", grpc_method=name),
        )
        for name in names
    ]


CLONE, PUSH = "SSHUploadPackWithSidechannel", "SSHReceivePack"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], "no calls left"),
        ([CLONE], "1 clone left, oldest 12 min"),
        ([CLONE, CLONE, CLONE], "3 clones left, oldest 12 min"),
        ([CLONE, "PostUploadPackWithSidechannel"], "2 clones left, oldest 12 min"),
        (["FindCommit"], "1 call left, oldest 12 min"),
        ([CLONE, PUSH, PUSH], "1 clone and 2 pushes left, oldest 12 min"),
        (
            ["FindCommit", CLONE, PUSH, "GetArchive"],
            "1 clone, 1 push, 1 archive and 1 other call left, oldest 12 min",
        ),
    ],
)
def test_calls_have_the_names_that_people_use(names: list[str], text: str) -> None:
    assert remaining(calls(*names), now=745).text("left") == text


def test_what_our_own_hooks_ask_belongs_to_the_call_that_they_run_for() -> None:
    asked = calls(CLONE, "PackObjectsHookWithSidechannel", PUSH, "PreReceiveHook")
    assert remaining(asked, now=8).text("left") == "1 clone and 1 push left, oldest 8 s"


def test_the_oldest_counts() -> None:
    found = remaining([*calls(CLONE, started=10), *calls(CLONE, started=50)], now=60)
    assert found.oldest_seconds == 50


def test_questions_for_our_health_are_no_work() -> None:
    (check, *_) = health_pb2.DESCRIPTOR.services_by_name["Health"].methods
    asked = calls(CLONE)[0]
    asked.method = method_of(check)
    assert remaining([asked], now=1).calls == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7500, "2 h 5 min")],
)
def test_ages_are_as_long_as_one_wants_to_read(seconds: float, text: str) -> None:
    assert age(seconds) == text
