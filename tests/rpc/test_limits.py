"""Limits as the clients of a real server meet them."""

import asyncio

import pytest

from gitaly._pb import ref_pb2, repository_pb2, shared_pb2, ssh_pb2
from tests.rpc.conftest import Serve
from tests.rpc.slow import (
    EXISTS,
    LIST,
    ONE,
    RECEIVE,
    REPLICATE,
    Refs,
    Repositories,
    Ssh,
    asking,
    detail_of,
    exists,
    in_progress,
    limiting,
    queued,
    replicate,
    repository,
    table,
)
from tests.transport.wires import until


async def test_of_eight_callers_two_run_three_wait_and_three_are_refused(serve: Serve) -> None:
    servicer = Repositories()
    limits = table(EXISTS, "max_concurrency = 2\nmax_queue_size = 3")
    async with serve(servicer, limits=limits) as node:
        tasks = []
        for number in range(1, 6):
            tasks.append(asking(node, EXISTS, exists(), site=str(number)))
            await until(lambda: queued(node) == max(0, number - 2))  # noqa: B023 - in this turn
            await servicer.until_begun(min(2, number))
        assert (in_progress(node), queued(node)) == (2, 3)
        refused = [await asking(node, EXISTS, exists()) for _ in range(3)]
        more = {"reason": "max_size", "authenticated": "true"}
        assert limiting(node, "gitaly_requests_dropped_total", **more) == 3
        for begun in (3, 4, 5):
            servicer.may_end.release()
            await servicer.until_begun(begun)
        servicer.may_end.release()
        servicer.may_end.release()
        answers = await asyncio.gather(*tasks)
        assert (in_progress(node), queued(node)) == (0, 0)
        count = limiting(node, "gitaly_concurrency_limiting_acquiring_seconds_count")
    assert servicer.begun == ["1", "2", "5", "4", "3"]
    assert [answer.code for answer in answers] == ["OK"] * 5
    assert count == 5
    for answer in refused:
        assert (answer.code, answer.text) == ("RESOURCE_EXHAUSTED", "maximum queue size reached")
        assert detail_of(answer).error_message == "maximum queue size reached"
        assert detail_of(answer).HasField("retry_after")


async def test_the_line_of_a_call_says_how_it_fared(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, ONE)) as node:
        first = asking(node, EXISTS, exists())
        await servicer.until_begun(1)
        second = asking(node, EXISTS, exists())
        await until(lambda: queued(node) == 1)
        await asking(node, EXISTS, exists())
        servicer.may_end.release()
        servicer.may_end.release()
        await asyncio.gather(first, second)
        await until(lambda: len(node.lines()) == 3)
        refused, ran, waited = node.lines()
    limit = {key: value for key, value in refused.items() if key.startswith("limit.")}
    assert limit == {
        "limit.limiting_type": "per-rpc",
        "limit.limiting_key": "a.git",
        "limit.concurrency_queue_length": 1,
        "limit.concurrency_queue_ms": 0,
        "limit.concurrency_in_progress": 1,
        "limit.concurrency_dropped": "max_size",
        "limit.authenticated": "true",
    }
    assert (refused["level"], refused["grpc.code"]) == ("warning", "ResourceExhausted")
    assert ran["limit.concurrency_queue_length"] == 1
    assert waited["limit.concurrency_queue_length"] == 1
    assert waited["limit.concurrency_in_progress"] == 1
    assert "limit.concurrency_dropped" not in waited


async def test_repositories_and_methods_do_not_share_a_queue(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, ONE)) as node:
        one, other = (asking(node, EXISTS, exists(path)) for path in ("a.git", "b.git"))
        replicating = asking(node, REPLICATE, replicate("a.git"))
        await servicer.until_begun(3)
        for _ in range(3):
            servicer.may_end.release()
        answers = await asyncio.gather(one, other, replicating)
    assert [answer.code for answer in answers] == ["OK"] * 3


async def test_a_storage_is_no_part_of_the_key(serve: Serve) -> None:
    request = repository_pb2.RepositoryExistsRequest(
        repository=shared_pb2.Repository(storage_name="other", relative_path="a.git")
    ).SerializeToString()
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, ONE)) as node:
        tasks = [asking(node, EXISTS, exists())]
        await servicer.until_begun(1)
        tasks.append(asking(node, EXISTS, request))
        await until(lambda: queued(node) == 1)
        servicer.may_end.release()
        servicer.may_end.release()
        await asyncio.gather(*tasks)


async def test_a_call_about_no_repository_is_not_limited(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, ONE)) as node:
        tasks = [asking(node, EXISTS, b"") for _ in range(4)]
        await servicer.until_begun(4)
        for _ in range(4):
            servicer.may_end.release()
        await asyncio.gather(*tasks)
    assert "limit.limiting_key" not in node.lines()[0]


async def test_one_repository_is_replicated_once_at_a_time_whatever_is_configured(
    serve: Serve,
) -> None:
    servicer = Repositories()
    async with serve(servicer) as node:
        assert in_progress(node, REPLICATE) == 0
        tasks = [asking(node, REPLICATE, replicate("a.git")) for _ in range(4)]
        await until(lambda: queued(node, REPLICATE) == 3)
        for _ in range(4):
            servicer.may_end.release()
        answers = await asyncio.gather(*tasks)
    assert [answer.code for answer in answers] == ["OK"] * 4


async def test_the_operator_may_lift_the_limit_of_replication(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(REPLICATE, "max_concurrency = 0")) as node:
        tasks = [asking(node, REPLICATE, replicate("a.git")) for _ in range(3)]
        await servicer.until_begun(3)
        for _ in range(3):
            servicer.may_end.release()
        await asyncio.gather(*tasks)


async def test_a_server_stream_holds_its_place_to_its_end(serve: Serve) -> None:
    request = ref_pb2.ListRefsRequest(repository=repository()).SerializeToString()
    servicer = Refs()
    async with serve(servicer, limits=table(LIST, ONE)) as node:
        first, second = (asking(node, LIST, request) for _ in range(2))
        await servicer.until_begun(1)
        await until(lambda: queued(node, LIST) == 1)
        refused = await asking(node, LIST, request)
        servicer.may_end.release()
        servicer.may_end.release()
        answers = await asyncio.gather(first, second)
    assert (refused.code, refused.messages) == ("RESOURCE_EXHAUSTED", [])
    assert [len(answer.messages) for answer in answers] == [1, 1]
    assert [answer.trailers["x-gitaly-cost"] for answer in answers] == ["2", "2"]


async def test_a_client_stream_takes_its_place_at_its_first_message(serve: Serve) -> None:
    request = ssh_pb2.SSHReceivePackRequest(repository=repository()).SerializeToString()
    servicer = Ssh()
    async with serve(servicer, limits=table(RECEIVE, ONE)) as node:
        first, second = (asking(node, RECEIVE, request) for _ in range(2))
        await servicer.until_begun(1)
        await until(lambda: queued(node, RECEIVE) == 1)
        refused = await asking(node, RECEIVE, request)
        servicer.may_end.release()
        servicer.may_end.release()
        answers = await asyncio.gather(first, second)
        assert in_progress(node, RECEIVE) == 0
    assert refused.text == "maximum queue size reached"
    assert detail_of(refused).error_message == "maximum queue size reached"
    assert [answer.code for answer in answers] == ["OK", "OK"]


UNAUTHENTICATED = table(
    EXISTS,
    "max_concurrency = 5\n[concurrency.unauthenticated]\nmax_concurrency = 1\nmax_queue_size = 1\n",
)


async def test_callers_without_a_name_have_a_queue_of_their_own(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=UNAUTHENTICATED) as node:
        tasks = [asking(node, EXISTS, exists(), metadata=[]) for _ in range(2)]
        await until(lambda: queued(node) == 1)
        refused = await asking(node, EXISTS, exists(), metadata=[])
        tasks += [asking(node, EXISTS, exists()) for _ in range(2)]  # with a name
        await servicer.until_begun(3)
        for _ in range(4):
            servicer.may_end.release()
        await asyncio.gather(*tasks)
        await until(lambda: len(node.lines()) == 5)
        more = {"reason": "max_size", "authenticated": "false"}
        assert limiting(node, "gitaly_requests_dropped_total", **more) == 1
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert node.lines()[0]["limit.authenticated"] == "false"


@pytest.mark.parametrize(
    "metadata",
    [[("gitaly-feature-limit-unauthenticated", "false")], [("username", "")]],
)
async def test_who_is_not_told_apart_meets_the_ordinary_limit(
    serve: Serve, metadata: list[tuple[str, str]]
) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=UNAUTHENTICATED) as node:
        tasks = [asking(node, EXISTS, exists(), metadata=metadata) for _ in range(5)]
        await servicer.until_begun(5)
        for _ in range(5):
            servicer.may_end.release()
        await asyncio.gather(*tasks)


async def test_without_a_table_for_them_the_nameless_meet_the_ordinary_limit(
    serve: Serve,
) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, ONE)) as node:
        tasks = [asking(node, EXISTS, exists(), metadata=[]) for _ in range(2)]
        await until(lambda: queued(node) == 1)
        servicer.may_end.release()
        servicer.may_end.release()
        await asyncio.gather(*tasks)


async def test_the_former_name_of_the_limit_counts(serve: Serve) -> None:
    servicer = Repositories()
    limits = table(EXISTS, "max_per_repo = 1\nmax_queue_size = 1")
    async with serve(servicer, limits=limits) as node:
        tasks = [asking(node, EXISTS, exists()) for _ in range(2)]
        await until(lambda: queued(node) == 1)
        servicer.may_end.release()
        servicer.may_end.release()
        await asyncio.gather(*tasks)


async def test_who_waits_too_long_is_refused(serve: Serve) -> None:
    servicer = Repositories()
    limits = table(EXISTS, f'{ONE}max_queue_wait = "50ms"')
    async with serve(servicer, limits=limits) as node:
        first = asking(node, EXISTS, exists())
        await servicer.until_begun(1)
        refused = await asking(node, EXISTS, exists())
        servicer.may_end.release()
        await first
        line = node.lines()[0]
    text = "maximum time in concurrency queue reached"
    assert (refused.code, refused.text) == ("RESOURCE_EXHAUSTED", text)
    assert detail_of(refused).error_message == text
    assert line["limit.concurrency_dropped"] == "max_time"
    assert line["limit.concurrency_queue_ms"] >= 50


async def test_a_deadline_in_the_queue_is_counted_as_time(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, ONE)) as node:
        first = asking(node, EXISTS, exists())
        await servicer.until_begun(1)
        late = await asking(node, EXISTS, exists(), timeout=0.3)
        await until(lambda: len(node.lines()) == 1)
        (line,) = node.lines()
        more = {"reason": "max_time", "authenticated": "true"}
        assert limiting(node, "gitaly_requests_dropped_total", **more) == 1
        servicer.may_end.release()
        await first
    assert late.code == "DEADLINE_EXCEEDED"
    assert line["grpc.code"] == "DeadlineExceeded"
    assert line["error"] == "maximum time in concurrency queue reached"
    assert line["limit.concurrency_dropped"] == "max_time"


async def test_a_handler_that_crashes_or_is_cut_off_returns_its_place(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, ONE)) as node:
        late = await asking(node, EXISTS, exists(), timeout=0.2)
        await until(lambda: in_progress(node) == 0)
        servicer.error = ZeroDivisionError()
        servicer.may_end.release()
        crashed = await asking(node, EXISTS, exists())
        servicer.error = None
        servicer.may_end.release()
        answer = await asking(node, EXISTS, exists())
    assert [late.code, crashed.code, answer.code] == ["DEADLINE_EXCEEDED", "INTERNAL", "OK"]


async def test_tokens_are_checked_before_the_queue(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, secret=b"secret", limits=table(EXISTS, ONE)) as node:
        answer = await asking(node, EXISTS, exists())
        await until(lambda: len(node.lines()) == 2)  # why it was refused, and its end
    assert answer.code == "UNAUTHENTICATED"
    assert "limit.limiting_key" not in node.lines()[1]


async def test_in_shadow_all_run_and_the_line_says_what_would_have_been(serve: Serve) -> None:
    servicer = Repositories()
    async with serve(servicer, limits=table(EXISTS, f"{ONE}shadow = true")) as node:
        tasks = []
        for count in (1, 2, 3):
            tasks.append(asking(node, EXISTS, exists()))
            await servicer.until_begun(count)
        for _ in range(3):
            servicer.may_end.release()
        answers = await asyncio.gather(*tasks)
        await until(lambda: len(node.lines()) == 3)
    assert [answer.code for answer in answers] == ["OK"] * 3
    said = sorted(line.get("limit.shadow", "") for line in node.lines())
    assert said == ["", "max_size", "queued"]
