"""What every call passes through, seen from a client of a real server."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from gitaly._pb import ref_pb2, repository_pb2, shared_pb2, ssh_pb2
from gitaly.errors import Aborted, InvalidRequest, NotFound
from gitaly.rpc import Call
from tests.rpc.conftest import Serve

EXISTS = "/gitaly.RepositoryService/RepositoryExists"
LIST = "/gitaly.RefService/ListRefs"
RECEIVE = "/gitaly.SSHService/SSHReceivePack"
REQUEST = repository_pb2.RepositoryExistsRequest(
    repository=shared_pb2.Repository(
        storage_name="default", relative_path="a.git", gl_repository="project-1"
    )
).SerializeToString()


class Repositories:
    SERVICE = "gitaly.RepositoryService"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.call: Call | None = None
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def RepositoryExists(
        self, request: repository_pb2.RepositoryExistsRequest, call: Call
    ) -> repository_pb2.RepositoryExistsResponse:
        self.call = call
        if self.error is not None:
            raise self.error
        return repository_pb2.RepositoryExistsResponse(exists=True)

    async def RepositorySize(self, _: object, __: Call) -> repository_pb2.RepositorySizeResponse:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


class Refs:
    SERVICE = "gitaly.RefService"

    async def ListRefs(self, _: Any, __: Call) -> AsyncIterator[ref_pb2.ListRefsResponse]:
        for name in (b"refs/heads/a", b"refs/heads/b"):
            yield ref_pb2.ListRefsResponse(
                references=[ref_pb2.ListRefsResponse.Reference(name=name)]
            )
        raise InvalidRequest("no more")


class Ssh:
    SERVICE = "gitaly.SSHService"

    async def SSHReceivePack(
        self, requests: AsyncIterator[ssh_pb2.SSHReceivePackRequest], _: Call
    ) -> AsyncIterator[ssh_pb2.SSHReceivePackResponse]:
        async for request in requests:
            yield ssh_pb2.SSHReceivePackResponse(stdout=request.stdin.upper())


async def test_a_unary_call_is_answered_counted_and_logged(serve: Serve) -> None:
    async with serve(Repositories()) as node:
        answer = await node.ask(
            EXISTS, REQUEST, metadata=[("client_name", "rails"), ("x-gitlab-correlation-id", "c1")]
        )
        (line,) = node.lines()
    assert (answer.code, answer.messages) == ("OK", [b"\x08\x01"])
    labels = {
        "grpc_type": "unary",
        "grpc_service": "gitaly.RepositoryService",
        "grpc_method": "RepositoryExists",
    }
    value = node.registry.get_sample_value
    assert value("grpc_server_started_total", labels) == 1.0
    assert value("grpc_server_handled_total", labels | {"grpc_code": "OK"}) == 1.0
    assert value("grpc_server_handled_total", labels | {"grpc_code": "NotFound"}) == 0.0
    assert value("grpc_server_msg_sent_total", labels) == 1.0
    assert value("grpc_server_handling_seconds_count", labels) == 1.0
    assert line["msg"] == "finished unary call with code OK"
    assert line["level"] == "info"
    assert line["correlation_id"] == "c1"
    assert line["grpc.meta.client_name"] == "rails"
    assert line["grpc.request.repoPath"] == "a.git"
    assert line["grpc.request.glRepository"] == "project-1"
    assert line["grpc.request.payload_bytes"] == len(REQUEST)
    assert line["grpc.response.payload_bytes"] == 2
    assert line["grpc.meta.method_operation"] == "accessor"


async def test_a_burst_of_calls_is_answered_whole(serve: Serve) -> None:
    async with (
        serve(Repositories()) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        call: Any = channel.unary_unary(EXISTS)
        answers = await asyncio.gather(*(call(REQUEST, timeout=60) for _ in range(4000)))
    assert len(answers) == 4000


async def test_a_client_is_counted_by_name_call_site_and_deadline(serve: Serve) -> None:
    async with serve(Repositories()) as node:
        metadata = [("client_name", "rails"), ("call_site", "here"), ("deadline_type", "regular")]
        await node.ask(EXISTS, REQUEST, metadata=metadata)
        await node.ask(EXISTS, REQUEST, metadata=metadata, timeout=None)
    labels = {
        "client_name": "rails",
        "call_site": "here",
        "auth_version": "unknown",
        "grpc_code": "OK",
        "grpc_service": "gitaly.RepositoryService",
        "grpc_method": "RepositoryExists",
        "method_operation": "accessor",
        "method_scope": "repository",
    }
    name = "gitaly_service_client_requests_total"
    for deadline_type in ("regular", "none"):
        found = node.registry.get_sample_value(name, labels | {"deadline_type": deadline_type})
        assert found == 1.0


async def test_a_stream_sends_what_it_had_before_its_error(serve: Serve) -> None:
    async with serve(Refs()) as node:
        answer = await node.ask(LIST, b"")
        (line,) = node.lines()
    assert len(answer.messages) == 2
    assert (answer.code, answer.text) == ("INVALID_ARGUMENT", "no more")
    assert line["msg"] == "finished streaming call with code InvalidArgument"
    assert line["error"] == "no more"


async def test_both_sides_may_stream(serve: Serve) -> None:
    requests = [
        ssh_pb2.SSHReceivePackRequest(stdin=text).SerializeToString() for text in (b"a", b"b")
    ]
    async with serve(Ssh()) as node:
        answer = await node.ask(RECEIVE, *requests)
    assert answer.code == "OK"
    said = [ssh_pb2.SSHReceivePackResponse.FromString(m).stdout for m in answer.messages]
    assert said == [b"A", b"B"]


async def test_what_is_not_built_is_named(serve: Serve) -> None:
    async with serve() as node:
        answer = await node.ask(EXISTS, REQUEST)
    assert answer.code == "UNIMPLEMENTED"
    assert answer.text == ("gitaly.RepositoryService/RepositoryExists is not built in this version")


async def test_a_call_that_the_contract_does_not_know_is_refused_by_the_core(serve: Serve) -> None:
    async with serve() as node:
        answer = await node.ask("/gitaly.RefTransaction/VoteTransaction", b"")
    assert answer.code == "UNIMPLEMENTED"


async def test_a_bug_is_internal_and_its_traceback_is_in_the_log_only(serve: Serve) -> None:
    async with serve(Repositories(RuntimeError("/srv/secret"))) as node:
        answer = await node.ask(EXISTS, REQUEST, metadata=[("x-gitlab-correlation-id", "c2")])
        lines = node.lines()
    assert answer.code == "INTERNAL"
    assert answer.text == "internal error, correlation id c2"
    assert "RuntimeError: /srv/secret" in lines[0]["traceback"]
    assert lines[1]["level"] == "error"


async def test_an_abort_is_worded_for_people(serve: Serve) -> None:
    async with serve(Repositories(Aborted("transaction was aborted"))) as node:
        answer = await node.ask(EXISTS, REQUEST)
        (line,) = node.lines()
    assert answer.code == "ABORTED"
    assert answer.text == "The operation could not be completed. Please try again."
    assert line["error_metadata"] == {"error_details": "transaction was aborted"}


async def test_a_message_that_cannot_be_parsed_is_answered(serve: Serve) -> None:
    async with serve(Repositories()) as node:
        answer = await node.ask(EXISTS, b"\xff\xff\xff")
    assert answer.code == "INTERNAL"
    assert answer.text.startswith("grpc: error unmarshalling request: ")


async def test_nobody_gets_in_without_a_token_where_one_is_configured(serve: Serve) -> None:
    signed = hmac.digest(b"secret", b"1700000000", "sha256").hex()
    good = [("authorization", f"Bearer v2.{signed}.1700000000")]
    servicer = Repositories()
    async with serve(servicer, secret=b"secret") as node:
        refused = await node.ask(EXISTS, REQUEST)
        assert servicer.call is None
        accepted = await node.ask(EXISTS, REQUEST, metadata=good)
    assert (refused.code, refused.text) == ("UNAUTHENTICATED", "authentication required")
    assert accepted.code == "OK"


async def test_of_two_tokens_the_first_counts(serve: Serve) -> None:
    signed = hmac.digest(b"secret", b"1700000000", "sha256").hex()
    tokens = [
        ("authorization", f"Bearer v2.{signed}.1700000000"),
        ("authorization", f"Bearer v2.{'00' * 32}.1700000000"),
    ]
    async with serve(Repositories(), secret=b"secret") as node:
        assert (await node.ask(EXISTS, REQUEST, metadata=tokens)).code == "OK"
        assert (await node.ask(EXISTS, REQUEST, metadata=tokens[::-1])).code == "PERMISSION_DENIED"


@pytest.mark.parametrize("given", ["", "with space", "x" * 300])
async def test_an_unsound_correlation_id_is_replaced(serve: Serve, given: str) -> None:
    servicer = Repositories()
    async with serve(servicer) as node:
        await node.ask(EXISTS, REQUEST, metadata=[("x-gitlab-correlation-id", given)])
    assert servicer.call is not None
    assert len(servicer.call.correlation_id) == 32


async def test_a_deadline_cancels_the_handler_and_is_logged_as_such(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer) as node:
        answer = await node.ask("/gitaly.RepositoryService/RepositorySize", b"", timeout=0.3)
        await asyncio.wait_for(servicer.cancelled.wait(), 10)
        while not node.lines():  # noqa: ASYNC110  # the line follows the handler's end
            await asyncio.sleep(0.01)
        (line,) = node.lines()
    assert answer.code == "DEADLINE_EXCEEDED"
    assert line["grpc.code"] == "DeadlineExceeded"
    assert "grpc.request.deadline" in line


async def test_running_calls_are_known(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer) as node:
        asking = asyncio.create_task(
            node.ask("/gitaly.RepositoryService/RepositorySize", b"", timeout=3)
        )
        await asyncio.wait_for(servicer.started.wait(), 10)
        assert [call.method.name for call in node.running] == ["RepositorySize"]
        await asking
        await asyncio.wait_for(servicer.cancelled.wait(), 10)
    assert node.running == set()


class EndlessRefs:
    SERVICE = "gitaly.RefService"

    def __init__(self) -> None:
        self.begun = 0

    async def ListRefs(
        self, request: ref_pb2.ListRefsRequest, call: Call
    ) -> AsyncIterator[ref_pb2.ListRefsResponse]:
        self.begun += 1
        reference = ref_pb2.ListRefsResponse.Reference(name=b"x" * 100_000)
        while True:
            yield ref_pb2.ListRefsResponse(references=[reference])


async def test_a_client_that_leaves_while_it_is_written_to_is_no_bug(serve: Serve) -> None:
    servicer = EndlessRefs()
    async with serve(servicer) as node:
        # On a busy machine a deadline may pass before a call has begun.
        while servicer.begun < 30:
            await node.ask(LIST, b"", timeout=0.05)
        while len(node.lines()) < servicer.begun:  # noqa: ASYNC110  # a line follows its handler's end
            await asyncio.sleep(0.01)
    # The client's clock may say so first, and then it breaks the call off.
    assert {(line["grpc.code"], line["error"]) for line in node.lines()} <= {
        ("DeadlineExceeded", "context deadline exceeded"),
        ("Canceled", "context canceled"),
    }


async def test_the_line_of_a_failed_call_has_exactly_the_fields_of_the_reference(
    serve: Serve,
) -> None:
    signed = hmac.digest(b"secret", b"1700000000", "sha256").hex()
    metadata = {
        "authorization": f"Bearer v2.{signed}.1700000000",
        "x-gitlab-correlation-id": "c3",
        "client_name": "rails",
        "call_site": "here",
        "remote_ip": "192.0.2.1",
        "user_id": "7",
        "username": "jane",
    }
    error = NotFound("repository not found", relative_path="a.git")
    async with serve(Repositories(error), secret=b"secret") as node:
        await node.ask(EXISTS, REQUEST, metadata=list(metadata.items()))
        (line,) = node.lines()
    assert set(line) == {
        *("component", "correlation_id", "error", "error_metadata", "level", "msg", "pid"),
        *("remote_ip", "span.kind", "system", "time", "user_id", "username"),
        *("grpc.code", "grpc.method", "grpc.service", "grpc.start_time", "grpc.time_ms"),
        *("grpc.meta.auth_version", "grpc.meta.call_site", "grpc.meta.client_name"),
        *("grpc.meta.method_operation", "grpc.meta.method_scope", "grpc.meta.method_type"),
        *("grpc.request.deadline", "grpc.request.fullMethod", "grpc.request.payload_bytes"),
        *("grpc.request.glProjectPath", "grpc.request.glRepository"),
        *("grpc.request.repoPath", "grpc.request.repoStorage", "grpc.response.payload_bytes"),
    }


class Sizes:
    SERVICE = "gitaly.RepositoryService"

    async def RepositorySize(self, _: object, __: Call) -> repository_pb2.RepositorySizeResponse:
        return repository_pb2.RepositorySizeResponse(size=7)


class Existence:
    SERVICE = "gitaly.RepositoryService"

    async def RepositoryExists(
        self, _: object, __: Call
    ) -> repository_pb2.RepositoryExistsResponse:
        return repository_pb2.RepositoryExistsResponse(exists=True)


async def test_servicers_may_share_a_service(serve: Serve) -> None:
    async with serve(Existence(), Sizes()) as served:
        exists = await served.ask(EXISTS, REQUEST)
        size = await served.ask("/gitaly.RepositoryService/RepositorySize", REQUEST)
    assert (exists.messages, size.messages) == ([b"\x08\x01"], [b"\x08\x07"])


async def test_two_servicers_must_not_serve_the_same_rpc(serve: Serve) -> None:
    with pytest.raises(ValueError, match="RepositorySize is served twice"):
        async with serve(Sizes(), Repositories()):
            pass
