"""What SSHService and SmartHTTPService of a running node refuse, and in which words."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from gitaly._pb.shared_pb2 import Repository
from gitaly._pb.smarthttp_pb2 import (
    InfoRefsRequest,
    PostReceivePackRequest,
    PostUploadPackWithSidechannelRequest,
)
from gitaly._pb.ssh_pb2 import (
    SSHReceivePackRequest,
    SSHUploadArchiveRequest,
    SSHUploadPackWithSidechannelRequest,
)
from tests.services.node_under_test import A, Node, a_node_with_a_repository
from tests.services.packets import lines

pytestmark = pytest.mark.asyncio(loop_scope="module")

HTTP_FETCH, HTTP_PUSH = "PostUploadPackWithSidechannel", "PostReceivePack"
SSH_FETCH, SSH_PUSH = "SSHUploadPackWithSidechannel", "SSHReceivePack"
ARCHIVE = "SSHUploadArchive"
REQUESTS: dict[str, Any] = {
    "InfoRefsUploadPack": InfoRefsRequest,
    "InfoRefsReceivePack": InfoRefsRequest,
    HTTP_FETCH: PostUploadPackWithSidechannelRequest,
    HTTP_PUSH: PostReceivePackRequest,
    SSH_FETCH: SSHUploadPackWithSidechannelRequest,
    SSH_PUSH: SSHReceivePackRequest,
    ARCHIVE: SSHUploadArchiveRequest,
}
FETCHES = pytest.mark.parametrize(
    ("method", "words", "retry"),
    [
        (HTTP_FETCH, "open sidechannel: sidechannel: ", "UNAVAILABLE"),
        (SSH_FETCH, "opennig sidechannel: sidechannel: ", "INTERNAL"),
    ],
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """One for all: nothing of what it refuses changes it."""
    directory: Path = tmp_path_factory.mktemp("n")
    async with a_node_with_a_repository(directory) as node:
        yield node
        await node.idle()


def first(method: str, repository: Repository | None, option: str = "") -> Message:
    """The first request of a call, with all that it needs."""
    request = REQUESTS[method](repository=repository)
    if "ReceivePack" in method and not method.startswith("Info"):
        request.gl_id = "user-1"
    if option:
        request.git_config_options.append(option)
    return request  # type: ignore[no-any-return]  # made by a class of the table


async def refusal(node: Node, method: str, request: Message) -> tuple[str, str]:
    if "Sidechannel" in method:
        return (await node.fetch(method, request, b"")).status
    answer = await node.ask(method, request)
    assert answer.messages == []
    return answer.status


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize(
    ("repository", "code", "text"),
    [
        (None, "INVALID_ARGUMENT", "repository not set"),
        (("default", ""), "INVALID_ARGUMENT", "repository path not set"),
        (("", "a.git"), "INVALID_ARGUMENT", "storage name not set"),
        (("x", "a.git"), "INVALID_ARGUMENT", "storage name not found"),
        (("default", "../a.git"), "INVALID_ARGUMENT", "relative path escapes root directory"),
        (("default", "b.git"), "NOT_FOUND", "repository not found"),
        (
            ("default", "plain"),
            "FAILED_PRECONDITION",
            'repository not valid: "objects" does not exist',
        ),
    ],
)
async def test_a_repository_must_be_there(
    node: Node, method: str, repository: tuple[str, str] | None, code: str, text: str
) -> None:
    message = repository and Repository(storage_name=repository[0], relative_path=repository[1])
    assert await refusal(node, method, first(method, message or None)) == (code, text)


@pytest.mark.parametrize("method", [x for x in REQUESTS if x != ARCHIVE])
async def test_a_repository_is_looked_up_before_options(node: Node, method: str) -> None:
    request = first(method, Repository(storage_name="default", relative_path="b.git"), "foo")
    assert await refusal(node, method, request) == ("NOT_FOUND", "repository not found")


@pytest.mark.parametrize("method", [x for x in REQUESTS if x != ARCHIVE])
async def test_an_option_needs_a_value(node: Node, method: str) -> None:
    code = "INVALID_ARGUMENT" if method == HTTP_FETCH else "INTERNAL"
    status = await refusal(node, method, first(method, A, "foo.bar"))
    assert status == (code, 'cannot convert invalid config key: "foo.bar"')


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("InfoRefsUploadPack", "INTERNAL", "cmd"),
        ("InfoRefsReceivePack", "INTERNAL", "cmd"),
        (HTTP_FETCH, "FAILED_PRECONDITION", "running upload-pack: spawning upload-pack"),
        (HTTP_PUSH, "FAILED_PRECONDITION", "spawning receive-pack"),
        (SSH_FETCH, "INTERNAL", "running upload-pack: starting command"),
        (SSH_PUSH, "INTERNAL", "start cmd"),
    ],
)
@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("=x", 'invalid configuration key "": key: not set'),
        (
            "foo=x",
            'invalid configuration key "foo": key: key "foo" must contain at least one section',
        ),
        (
            ".foo=x",
            'invalid configuration key ".foo": key: key ".foo" must not start or end with a dot',
        ),
        (
            "a b.c=x",
            'invalid configuration key "a b.c": key: key "a b.c" failed regexp validation',
        ),
        ("a.b=\0", 'detected null byte in command argument "a.b=\\x00"'),
    ],
)
async def test_an_option_that_git_would_misunderstand_is_refused(
    node: Node, method: str, code: str, words: str, option: str, problem: str
) -> None:
    status = await refusal(node, method, first(method, A, option))
    assert status == (code, f"{words}: {problem}")


@pytest.mark.parametrize(
    ("method", "request_", "text"),
    [
        (HTTP_PUSH, PostReceivePackRequest(data=b"x"), "empty GlId"),
        (HTTP_PUSH, PostReceivePackRequest(gl_id="user-1", data=b"x"), "non-empty Data"),
        (SSH_PUSH, SSHReceivePackRequest(stdin=b"x"), "empty GlId"),
        (
            SSH_PUSH,
            SSHReceivePackRequest(gl_id="user-1", stdin=b"x"),
            "non-empty data in first request",
        ),
        (ARCHIVE, SSHUploadArchiveRequest(stdin=b"x"), "repository not set"),
        (
            ARCHIVE,
            SSHUploadArchiveRequest(repository=A, stdin=b"x"),
            "non-empty stdin in first request",
        ),
    ],
)
async def test_a_first_message_is_checked_in_this_order(
    node: Node, method: str, request_: Message, text: str
) -> None:
    assert await refusal(node, method, request_) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize("method", [HTTP_PUSH, SSH_PUSH, ARCHIVE])
async def test_a_stream_needs_a_first_message(node: Node, method: str) -> None:
    assert (await node.ask(method)).status == ("INTERNAL", "EOF")


@FETCHES
async def test_a_fetch_needs_a_sidechannel(node: Node, method: str, words: str, retry: str) -> None:
    status = (await node.ask(method, first(method, A))).status
    assert status == ("INTERNAL", f"{words}sidechannel-id not found in incoming metadata")


@FETCHES
async def test_a_fetch_needs_a_multiplexed_connection(
    node: Node, method: str, words: str, retry: str
) -> None:
    metadata = [("gitaly-sidechannel-id", "0")]
    status = (await node.ask(method, first(method, A), metadata=metadata)).status
    text = f"{words}fail to extract yamux session: non-multiplexed connection"
    assert status == ("INTERNAL", text)


@FETCHES
async def test_a_client_that_does_not_know_its_sidechannel_may_try_again_over_http(
    node: Node, method: str, words: str, retry: str
) -> None:
    status = await node.unknown_sidechannel(method, first(method, A))
    assert status == (retry, f"{words}receive confirmation: EOF")


async def test_over_http_a_repository_is_looked_up_before_the_sidechannel(node: Node) -> None:
    answer = await node.ask(HTTP_FETCH, first(HTTP_FETCH, None))
    assert answer.status == ("INVALID_ARGUMENT", "repository not set")


async def test_over_ssh_the_sidechannel_is_opened_before_anything_else(node: Node) -> None:
    answer = await node.ask(SSH_FETCH, first(SSH_FETCH, None))
    text = "opennig sidechannel: sidechannel: sidechannel-id not found in incoming metadata"
    assert answer.status == ("INTERNAL", text)


@pytest.mark.parametrize("method", [HTTP_PUSH, SSH_PUSH])
async def test_a_push_in_a_transaction_that_nobody_can_read_is_refused(
    node: Node, method: str
) -> None:
    metadata = [("gitaly-reference-transaction", "x")]
    answer = await node.ask(method, first(method, A), metadata=metadata)
    assert answer.status == ("INVALID_ARGUMENT", "gitaly-reference-transaction: not base64")


async def test_a_git_that_cannot_be_started_is_told_with_the_words_of_the_call(
    tmp_path: Path,
) -> None:
    git = tmp_path / "git"
    git.write_text('#!/bin/sh\nexec git "$@"\n')
    git.chmod(0o700)
    async with a_node_with_a_repository(tmp_path, f'git.bin_path = "{git}"') as node:
        git.unlink()
        said = {x: await refusal_in_the_end(node, x) for x in REQUESTS}
        await node.idle()
    reason = "starting git: no such file or directory"
    assert said == {
        "InfoRefsUploadPack": ("INTERNAL", f"cmd: {reason}"),
        "InfoRefsReceivePack": ("INTERNAL", f"cmd: {reason}"),
        HTTP_FETCH: (
            "FAILED_PRECONDITION",
            f"running upload-pack: spawning upload-pack: {reason}",
        ),
        HTTP_PUSH: ("FAILED_PRECONDITION", f"spawning receive-pack: {reason}"),
        SSH_FETCH: ("INTERNAL", f"running upload-pack: starting command: {reason}"),
        SSH_PUSH: ("INTERNAL", f"start cmd: {reason}"),
        ARCHIVE: ("INTERNAL", f"running upload-archive: starting command: {reason}"),
    }


async def refusal_in_the_end(node: Node, method: str) -> tuple[str, str]:
    if "Sidechannel" in method:
        return (await node.fetch(method, first(method, A), lines(""))).status
    return (await node.ask(method, first(method, A))).status
