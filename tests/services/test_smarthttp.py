"""SmartHTTPService of a running node: advertisements, byte by byte."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.smarthttp_pb2 import (
    InfoRefsRequest,
)
from tests.faults.conftest import tmp_path as tmp_path
from tests.faults.nodes import run_git
from tests.services.node_under_test import A, Node, a_node_with_a_repository
from tests.services.packets import packets

UPLOAD, RECEIVE = "InfoRefsUploadPack", "InfoRefsReceivePack"
FETCH, PUSH = "PostUploadPackWithSidechannel", "PostReceivePack"
SERVICE_LINE = b"001e# service=git-upload-pack\n0000"
REQUESTS = "gitaly_git_protocol_requests_total"
FEATURES = "gitaly_smarthttp_packfile_negotiation_requests_total"

advertisements = pytest.mark.parametrize("method", [UPLOAD, RECEIVE])


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node_with_a_repository(tmp_path) as node:
        yield node
        await node.idle()


def asking(repository: Repository = A, *options: str, protocol: str = "") -> InfoRefsRequest:
    return InfoRefsRequest(repository=repository, git_config_options=options, git_protocol=protocol)


async def test_an_advertisement_begins_with_the_service(node: Node) -> None:
    answer = await node.ask(UPLOAD, asking(A))
    assert answer.status == ("OK", "")
    said = answer.joined("data")
    assert said.startswith(SERVICE_LINE)
    refs = packets(said.removeprefix(SERVICE_LINE))
    assert refs[0].startswith(f"{node.commit} HEAD\0".encode())
    assert refs[1:] == [f"{node.commit} refs/heads/main\n".encode(), b""]
    capabilities = refs[0].partition(b"\0")[2].split()
    assert {b"filter", b"allow-tip-sha1-in-want", b"allow-reachable-sha1-in-want"} <= set(
        capabilities
    )
    assert b"object-format=sha1" in capabilities
    assert b"symref=HEAD:refs/heads/main" in capabilities


async def test_an_advertisement_for_a_push_begins_with_the_service(node: Node) -> None:
    answer = await node.ask(RECEIVE, asking(A))
    assert answer.status == ("OK", "")
    said = answer.joined("data")
    assert said.startswith(b"001f# service=git-receive-pack\n0000")
    refs = packets(said[35:])
    assert refs[0].startswith(f"{node.commit} refs/heads/main\0".encode())
    capabilities = refs[0].partition(b"\0")[2].split()
    assert {b"push-options", b"atomic", b"report-status", b"side-band-64k"} <= set(capabilities)


async def test_the_options_of_a_request_win(node: Node) -> None:
    option = "receive.advertisePushOptions=false"
    answer = await node.ask(RECEIVE, asking(A, option))
    assert b"push-options" not in answer.joined("data")


@pytest.mark.parametrize(
    ("protocol", "beginning", "label"),
    [
        ("", None, "v0"),
        ("version=1", b"version 1\n", "v1"),
        ("version=2", b"version 2\n", "v2"),
        ("version=3", None, "invalid"),
    ],
)
async def test_the_version_of_the_protocol_is_the_clients_choice(
    node: Node, protocol: str, beginning: bytes | None, label: str
) -> None:
    answer = await node.ask(UPLOAD, asking(A, protocol=protocol))
    expected = beginning or f"{node.commit} HEAD\0".encode()
    packet = packets(answer.joined("data").removeprefix(SERVICE_LINE))[0]
    assert packet[: len(expected)] == expected
    service = {"grpc_service": "gitaly.SmartHTTPService", "grpc_method": UPLOAD}
    assert node.metric(REQUESTS, **service, git_protocol=label) == 1
    warned = [x["git_protocol"] for x in node.lines("invalid git protocol requested")]
    assert warned == ([protocol] if label == "invalid" else [])


async def test_bundle_uris_are_not_advertised(node: Node) -> None:
    asked = asking(A, "uploadpack.advertiseBundleURIs=true", protocol="version=2")
    answer = await node.ask(UPLOAD, asked)
    assert b"fetch=shallow" in answer.joined("data")
    assert b"bundle-uri" not in answer.joined("data")


@pytest.mark.parametrize(
    ("method", "hidden"),
    [
        (UPLOAD, "keep-around remotes tmp"),
        (RECEIVE, "environments keep-around merge-requests pipelines remotes tmp"),
    ],
)
async def test_internal_references_are_hidden(node: Node, method: str, hidden: str) -> None:
    every = ["environments", "keep-around", "merge-requests", "pipelines", "remotes", "tmp"]
    for name in every:
        node.git("update-ref", f"refs/{name}/1", node.commit)
    said = (await node.ask(method, asking(A))).joined("data").decode()
    assert [name for name in every if f" refs/{name}/1" not in said] == hidden.split()


async def test_an_empty_repository_has_no_references_to_fetch(node: Node) -> None:
    answer = await node.ask(UPLOAD, asking(empty_repository(node, "sha1")))
    assert answer.status == ("OK", "")
    refs = packets(answer.joined("data").removeprefix(SERVICE_LINE))
    assert [ref for ref in refs if b"capabilities^{}" not in ref] == [b""]  # git since 2.41: it has


async def test_a_push_to_an_empty_repository_sees_its_capabilities(node: Node) -> None:
    answer = await node.ask(RECEIVE, asking(empty_repository(node, "sha1")))
    assert packets(answer.joined("data"))[2].startswith(b"0" * 40 + b" capabilities^{}\0")


@advertisements
async def test_a_sha256_repository_says_so(node: Node, method: str) -> None:
    # Only version 2 has capabilities for every empty repository; pushes have no version 2.
    asked = asking(empty_repository(node, "sha256"), protocol="version=2")
    answer = await node.ask(method, asked)
    assert b"object-format=sha256" in answer.joined("data")


def empty_repository(node: Node, object_format: str) -> Repository:
    path = str(node.repository.with_name("empty.git"))
    run_git("init", "--quiet", "--bare", f"--object-format={object_format}", path)
    return Repository(storage_name="default", relative_path="empty.git")


@advertisements
async def test_a_git_that_fails_gives_its_exit_after_the_service(node: Node, method: str) -> None:
    (node.repository / "config").write_text("[nonsense")
    answer = await node.ask(method, asking(A))
    assert answer.status == ("INTERNAL", "wait: exit status 128")
    assert packets(answer.joined("data"))[1:] == [b""]
    assert "bad config line" in (await node.finished(method))["error_metadata"]["stderr"]
