"""SmartHTTPService of a running node: fetches and pushes."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gitaly._pb.packfile_pb2 import PackfileNegotiationStatistics
from gitaly._pb.smarthttp_pb2 import (
    PostReceivePackRequest,
    PostUploadPackWithSidechannelRequest,
)
from tests.faults.conftest import tmp_path as tmp_path
from tests.services.node_under_test import A, Node, Push, a_node_with_a_repository
from tests.services.packets import UNKNOWN, index_pack, lines, packets

FETCH, PUSH = "PostUploadPackWithSidechannel", "PostReceivePack"
FEATURES = "gitaly_smarthttp_packfile_negotiation_requests_total"
DEEPEN = "gitaly_smarthttp_packfile_negotiation_deepen"
USER = PostReceivePackRequest(repository=A, gl_id="user-1")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node_with_a_repository(tmp_path) as node:
        yield node
        await node.idle()


def request(protocol: str = "") -> PostUploadPackWithSidechannelRequest:
    return PostUploadPackWithSidechannelRequest(repository=A, git_protocol=protocol)


# Fetches


async def test_a_clone_arrives_whole(node: Node, tmp_path: Path) -> None:
    said = lines(f"want {node.commit} ofs-delta agent=git/2.50", "", "done")
    fetched = await node.fetch(FETCH, request(), said)
    assert fetched.status == ("OK", "")
    assert fetched.output.startswith(b"0008NAK\nPACK")
    assert index_pack(tmp_path, fetched.output) == 3
    assert fetched.statistics == PackfileNegotiationStatistics(
        payload_size=5 + 40 + 25 + 4,
        packets=2,
        caps=["ofs-delta", "agent=git/2.50"],
        wants=1,
    )


async def test_everything_that_is_said_in_version_0_is_counted(node: Node) -> None:
    said = lines(
        f"want {node.commit} filter shallow",
        f"want {node.commit}",
        f"shallow {UNKNOWN}",
        "deepen 1",
        "filter blob:none",
        "",
        f"have {UNKNOWN}",
        f"have {node.commit}",
        "done",
    )
    fetched = await node.fetch(FETCH, request(), said)
    assert fetched.status == ("OK", "")
    assert fetched.statistics == PackfileNegotiationStatistics(
        payload_size=60 + 45 + 48 + 8 + 16 + 45 + 45 + 4,
        packets=8,
        caps=["filter", "shallow"],
        wants=2,
        haves=2,
        shallows=1,
        deepen="deepen 1",
        filter="blob:none",
    )


async def test_everything_that_is_said_in_version_2_is_counted(node: Node) -> None:
    said = lines(
        *("command=fetch", "agent=git/2.50", "object-format=sha1", "|"),
        *("ofs-delta", f"want {node.commit}", "deepen 2", "filter blob:none", "done", ""),
    )
    fetched = await node.fetch(FETCH, request("version=2"), said)
    assert fetched.status == ("OK", "")
    assert b"packfile\n" in fetched.output
    assert fetched.statistics == PackfileNegotiationStatistics(
        payload_size=13 + 14 + 18 + 9 + 45 + 8 + 16 + 4,
        packets=8,
        wants=1,
        deepen="deepen 2",
        filter="blob:none",
    )
    line = await node.finished(FETCH)
    assert {key: value for key, value in line.items() if key.startswith("negotiation.")} == {
        "negotiation.command": "fetch",
        "negotiation.user_agent": "git/2.50",
        "negotiation.deepen": "deepen 2",
        "negotiation.filter": "blob:none",
        "negotiation.wants": 1,
    }
    counted = {
        feature: node.metric(FEATURES, git_negotiation_feature=feature)
        for feature in ("total", "fetch", "deepen", "filter", "have")
    }
    assert counted == {"total": 1, "fetch": 1, "deepen": 1, "filter": 1, "have": None}
    assert node.metric(f"{DEEPEN}_sum") == 2


async def test_the_log_tells_what_a_request_was_and_how_much_was_answered(node: Node) -> None:
    said = lines("command=ls-refs", "object-format=sha1", "|", "ref-prefix refs/heads/", "")
    fetched = await node.fetch(FETCH, request("version=2"), said)
    assert packets(fetched.output) == [f"{node.commit} refs/heads/main\n".encode(), b""]
    [line] = node.lines("request details")
    assert line["request_sha"] == hashlib.sha1(said).hexdigest()
    assert line["response_bytes"] == len(fetched.output)


async def test_a_request_that_asks_for_a_shallow_clone_may_end_early(node: Node) -> None:
    fetched = await node.fetch(FETCH, request(), lines(f"want {node.commit}", "deepen 1"))
    assert fetched.status == ("OK", "")
    assert fetched.statistics is not None
    assert fetched.statistics.deepen == "deepen 1"


async def test_a_shallow_clone_learns_where_history_ends(node: Node) -> None:
    said = lines(f"want {node.commit} shallow", "deepen 1", "")
    fetched = await node.fetch(FETCH, request(), said)
    assert fetched.status == ("OK", "")
    assert packets(fetched.output) == [f"shallow {node.commit}".encode(), b""]


async def test_a_request_that_ends_early_otherwise_has_failed(node: Node) -> None:
    fetched = await node.fetch(FETCH, request(), lines(f"want {node.commit}"))
    text = "running upload-pack: waiting for upload-pack: exit status 128"
    assert fetched.status == ("FAILED_PRECONDITION", text)


async def test_what_is_not_there_cannot_be_wanted(node: Node) -> None:
    fetched = await node.fetch(FETCH, request(), lines(f"want {UNKNOWN}", "", "done"))
    text = "running upload-pack: waiting for upload-pack: exit status 128"
    assert fetched.status == ("FAILED_PRECONDITION", text)
    assert packets(fetched.output) == [f"ERR upload-pack: not our ref {UNKNOWN}".encode()]
    said = (await node.finished(FETCH))["error_metadata"]["stderr"]
    assert said == f"fatal: git upload-pack: not our ref {UNKNOWN}\n"


async def test_a_request_that_cannot_be_parsed_has_statistics_of_zero(node: Node) -> None:
    said = lines(f"want {node.commit}", f"shallow {UNKNOWN} x", "", "done")
    fetched = await node.fetch(FETCH, request(), said)
    assert fetched.status == ("OK", "")
    assert fetched.statistics == PackfileNegotiationStatistics()
    assert node.metric(FEATURES, git_negotiation_feature="total") is None
    line = await node.finished(FETCH)
    assert not [key for key in line if key.startswith("negotiation.")]


async def test_a_depth_in_a_request_that_cannot_be_parsed_does_not_count(node: Node) -> None:
    said = lines(f"want {node.commit}", "deepen 1", f"shallow {UNKNOWN} x")
    fetched = await node.fetch(FETCH, request(), said)
    text = "running upload-pack: waiting for upload-pack: exit status 128"
    assert fetched.status == ("FAILED_PRECONDITION", text)


async def test_a_client_that_says_nothing_in_version_2_is_served(node: Node) -> None:
    fetched = await node.fetch(FETCH, request("version=2"), b"")
    assert fetched.status == ("OK", "")
    assert (fetched.output, fetched.statistics) == (b"", PackfileNegotiationStatistics())


async def test_a_client_that_goes_away_leaves_no_git(node: Node) -> None:
    fetched = await node.fetch(FETCH, request("version=2"), None)
    assert fetched.code != "OK"
    await node.idle()


# Pushes


async def push(node: Node, *pieces: bytes, **options: Any) -> Any:
    messages = [PostReceivePackRequest(data=piece) for piece in pieces]
    return await node.ask(PUSH, USER, *messages, **options)


async def test_a_push_moves_a_reference(node: Node) -> None:
    pushed = Push(node)
    answer = await push(node, pushed.command, pushed.pack)
    assert answer.status == ("OK", "")
    report = [b"unpack ok\n", b"ok refs/heads/new\n", b""]
    assert packets(answer.joined("data")) == report
    assert node.git("rev-parse", "refs/heads/new") == pushed.new


async def test_a_refused_reference_is_not_an_error_of_the_call(node: Node) -> None:
    pushed = Push(node, branch="refs/keep-around/x")
    answer = await push(node, pushed.command, pushed.pack)
    assert answer.status == ("OK", "")
    report = [b"unpack ok\n", b"ng refs/keep-around/x deny updating a hidden ref\n", b""]
    assert packets(answer.joined("data")) == report


@pytest.mark.parametrize("garbage", [b"zzzz", b"0009", b"0007ab\n"])
async def test_garbage_instead_of_commands_is_git_s_failure(node: Node, garbage: bytes) -> None:
    answer = await push(node, garbage)
    text = "waiting for receive-pack: exit status 128"
    assert answer.status == ("FAILED_PRECONDITION", text)
    assert (await node.finished(PUSH))["error_metadata"]["stderr"].startswith("fatal: ")


async def test_garbage_instead_of_a_pack_changes_nothing(node: Node) -> None:
    pushed = Push(node)
    answer = await push(node, pushed.command, b"garbage" * 100)
    assert packets(answer.joined("data"))[0].startswith(b"unpack ")
    assert packets(answer.joined("data"))[1] == b"ng refs/heads/new unpacker error\n"
    assert node.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


async def test_a_client_that_vanishes_in_the_middle_leaves_nothing(node: Node) -> None:
    pushed = Push(node)
    with node.stream(PUSH) as stream:
        stream.say(USER)
        stream.say(PostReceivePackRequest(data=pushed.command + pushed.pack[:50]))
        await node.until_quarantined()
    await node.finished(PUSH)
    await node.idle()
    assert node.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
